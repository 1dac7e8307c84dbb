"""The house itself: its public names, what starting Django may load, and that models and migrations agree.

Which package may import which is a contract in pyproject.toml, held by `make lint`.
"""

import subprocess
import sys

import pytest

from tests import ROOT

PUBLIC = """
from shopsearch import FilterField, ImageIndex, paused, register, reindex
from shopsearch.admin import ImageAdmin, ProductImageAdminMixin, ProductImageInline
from shopsearch.embedders import Embedder
from shopsearch.embedders.bge_vl import BGEVL
from shopsearch.embedders.magiclens import MagicLens
from shopsearch.embedders.remote import WorkerEmbedder
from shopsearch.embedders.sentence_transformer import SentenceTransformerEmbedder
from shopsearch.embedders.two_tower import TwoTower
from shopsearch.embedders.visualized_bge import VisualizedBGE
from shopsearch.filters import parse
from shopsearch.images import decode
from shopsearch.middleware import RequestIDMiddleware
from shopsearch.models import AbstractProductImage, ProductImage
from shopsearch.rerankers import Reranker
from shopsearch.search import search, similar
from shopsearch.telemetry.logs import RequestIDFilter
from shopsearch.testing import (
    SETTINGS, ColourEmbedder, MemoryStore, SearchTestCase, assert_finds, index_saved, picture, stand_ins
)
from shopsearch.vector_stores import VectorStore
from shopsearch.vector_stores.milvus import MilvusStore
import shopsearch.urls
"""
HEAVY = {"torch", "transformers", "pymilvus", "FlagEmbedding", "milvus_lite"}


@pytest.mark.parametrize("settings", ["tests.settings", "demo_project.settings"])
def test_starting_django_and_naming_what_is_public_loads_no_model_framework_and_no_milvus_client(settings):
    program = (
        "import sys, django; django.setup();"
        "from django.core.management import call_command; call_command('check', verbosity=0);"
        f"exec({PUBLIC!r});"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": settings, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"


SEARCHES = {
    *("numpy", "snowballstemmer", "rapidfuzz", "spellchecker", "jinja2", "rest_framework.test"),
    "prometheus_client",
    *("shopsearch.api.serializers", "shopsearch.storefront.views", "shopsearch.search.engine"),
    *("shopsearch.evaluation.judgements", "shopsearch.indexing.batch", "shopsearch.tasks"),
}
"""What a project need not import, of others and of ours, before somebody searches or a worker works."""
CHECKS = {"PIL", "shopsearch.backends", "shopsearch.checks.settings"}
FIRST_PAGE = """
from django.core.handlers.wsgi import WSGIHandler
from wsgiref.util import setup_testing_defaults
request = {"PATH_INFO": "/admin/login/"}
setup_testing_defaults(request)
assert b"csrfmiddlewaretoken" in b"".join(WSGIHandler()(request, lambda *status: None))
"""
CHECK = "from django.core.management import call_command; call_command('check', verbosity=0)"
START = """
import sys, django, tests.settings
tests.settings.SHOPSEARCH = {{}}
django.setup()
{program}
print(sorted({needless} & set(sys.modules)))
print(sum(name.startswith("shopsearch") for name in sys.modules))
"""


@pytest.mark.parametrize(
    ("program", "needless", "most"),
    [(FIRST_PAGE, SEARCHES | CHECKS, 60), (CHECK, SEARCHES, 100)],
    ids=["a first page", "check"],
)
def test_a_start_imports_only_what_it_needs(program, needless, most):
    """Of a project with an index, our addresses among its own, and the settings as they are by default."""
    run = subprocess.run(
        [sys.executable, "-c", START.format(program=program, needless=needless)],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded, count = run.stdout.splitlines()[-2:]
    assert loaded == "[]"
    assert int(count) <= most


@pytest.mark.parametrize(
    "program",
    [
        "django.setup(); assert 'shopsearch.index' not in app.tasks; app.loader.import_default_modules()",
        "WorkController(app=app, pool_cls='solo')",
    ],
    ids=["Django is set up before", "the worker sets up Django"],
)
def test_a_celery_worker_knows_the_tasks_whether_or_not_the_project_looks_for_them(program):
    program = (
        "import celery, django; from celery.worker import WorkController; app = celery.Celery('shop');"
        f"{program}; assert 'shopsearch.index' in app.tasks"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PATH": "/usr/bin:/bin"},
        check=True,
    )


@pytest.mark.django_db
def test_the_models_and_the_migrations_agree():
    from django.core.management import call_command

    call_command("makemigrations", "shopsearch", check=True, dry_run=True, verbosity=0)
