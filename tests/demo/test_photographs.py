"""Real photographs of real shops, through the demo: all are indexed, and each finds its own product."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict

import pytest

from tests.services.demo import ROOT, environment_of

STOREFRONT = ROOT.parent / "shared" / "data" / "storefront"

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(
        not (STOREFRONT / "products.jsonl").exists(), reason="shared/data/storefront is not here"
    ),
]


@pytest.fixture(scope="module")
def listed():
    """The pictures that each line of products.jsonl names."""
    lines = (STOREFRONT / "products.jsonl").read_text().split("\n")
    return {product["id"]: product["images"] for line in lines if line for product in [json.loads(line)]}


@pytest.fixture
def shop(tmp_path, milvus_lite_process):
    folder = tmp_path / "demo"
    folder.mkdir()
    environment = environment_of(folder) | {"SHOPSEARCH_MILVUS_URI": milvus_lite_process.uri}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    run("manage.py", "migrate", "--verbosity", "0")
    return run


def test_every_real_picture_is_indexed_and_finds_its_own_product_first(shop, listed):
    pictures = sum(map(len, listed.values()))
    seeded = shop("manage.py", "seed", "--images", str(STOREFRONT))
    assert f"{len(listed)} of them new, {pictures} pictures added" in seeded

    report = json.loads(shop("-m", "tests.demo.storefront_report"))

    states = {state: rows for state, rows in report["states"]["shopsearch_productimage"].items() if rows}
    assert states == {"indexed": pictures}
    products_of = defaultdict(set)
    for found in report["found"]:
        products_of[found["file"]].add(found["product"])
    first = [found for found in report["found"] if found["results"][0][0] == found["product"]]
    # A file that two products share finds both, with the same score: either may be first.
    tied = [
        found
        for found in report["found"]
        if found["results"][0][0] in products_of[found["file"]] - {found["product"]}
        and found["product"] in {slug for slug, _ in found["results"]}
    ]
    lost = [f for f in report["found"] if f not in first and f not in tied]
    assert not lost, f"{len(first)} first, {len(tied)} tied, {len(lost)} lost: {lost}"
    assert len(first) + len(tied) == pictures == 307

    assert "nothing to do" in shop("manage.py", "seed", "--images", str(STOREFRONT))
    assert json.loads(shop("-m", "tests.demo.storefront_report", "--only-index"))["embedded"] == 0
