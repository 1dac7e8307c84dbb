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


@pytest.mark.django_db
def test_the_models_and_the_migrations_agree():
    from django.core.management import call_command

    call_command("makemigrations", "shopsearch", check=True, dry_run=True, verbosity=0)
