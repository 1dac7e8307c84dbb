"""schemathesis: what the OpenAPI schema promises is what the REST API does, as a stranger's tool sees it.

A few requests of each operation here. With SHOPSEARCH_SCHEMATHESIS_EXAMPLES so many of each, and every boundary of
every parameter besides: a minute or more.
"""

import json
import os
import re
import subprocess
import sys

import pytest
from django.core.cache import cache
from django.core.management import call_command

from shopsearch import registry
from shopsearch.models import ProductImage
from shopsearch.registry import get_index
from shopsearch.search import reranking
from shopsearch.search.engine import search
from tests import ROOT
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import index_everything

EXAMPLES = os.environ.get("SHOPSEARCH_SCHEMATHESIS_EXAMPLES", "")
TOKEN = "schemathesis"


@pytest.fixture
def existing(settings, monkeypatch, transactional_db):
    """A shop with one index: that a filter is of another index than the one asked for is more than a schema can say.

    Gives a product and a rerank that there are.
    """
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "THROTTLE_RATE": None,
        "RERANKER": {"BACKEND": "tests.shop.rerankers.LastFirst"},
        "METRICS_TOKEN": TOKEN,
    }
    monkeypatch.setattr(registry.registry, "_indexes", {ProductImage: registry.index_for(ProductImage)})
    cache.clear()
    made = [product(colour, tags=["new"]) for colour in (RED, GREEN, BLUE)]
    index_everything()
    rerank = reranking.request(get_index(), search("red"))
    return {"product_id": str(made[0].pk), "rerank_id": str(rerank.pk)}


def test_every_operation_passes_every_check(existing, live_server, tmp_path):
    pytest.importorskip("schemathesis")
    schema = tmp_path / "schema.json"
    call_command("spectacular", "--format", "openapi-json", "--file", str(schema))
    operations = sum(len(methods) for methods in json.loads(schema.read_text())["paths"].values())
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(schema), "--url", live_server.url),
            *("--checks", "all", "--max-examples", EXAMPLES or "5", "--continue-on-failure"),
            *("--phases", "examples,coverage,fuzzing,stateful" if EXAMPLES else "fuzzing"),
            *("--header", f"Authorization: Bearer {TOKEN}"),
            # The same each time. With some seeds schemathesis cannot check what it made itself of a form with a file:
            # "Unsupported type: 'Binary'".
            *("--generation-database", "none", "--seed", "1", "--no-color"),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks",
            "SCHEMATHESIS_EXISTING": json.dumps(existing),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(rf"Tested: +{operations}\b", run.stdout), run.stdout
