# make demo   the shop, ready to search          make test   everything CI runs but lint and types
# make lint   ruff and mypy                      make clean  forget the environment and the demo's data
VENV ?= .venv
# Where the environment forbids it, every start would compile the world anew.
export PYTHONDONTWRITEBYTECODE :=
BIN := $(VENV)/bin
PORT ?= 8000
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.PHONY: demo demo-data test lint clean system

demo: $(VENV)/.demo
	@exec $(BIN)/python manage.py demo --port $(PORT)

demo-data: $(VENV)/.demo
	@test -n "$(IMAGES)" || { echo "make demo-data IMAGES=<a folder with products.jsonl and its pictures>"; exit 2; }
	@exec $(BIN)/python manage.py demo --port $(PORT) --images "$(IMAGES)"

# torch first and by itself: pinned, so that no later requirement brings a CUDA build.
$(VENV)/.demo: requirements.txt constraints.txt
	@echo "Installing into $(VENV): a minute or two, once."
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	@$(PIP) torch
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.demo requirements-dev.txt
	@$(PIP) -r requirements-dev.txt
	@touch $@

# The servers and the browser that tests drive. Without them those tests skip by name.
system:
	@.ci/system-packages

test: $(VENV)/.dev system
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .var
