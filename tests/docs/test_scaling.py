"""docs/scaling.md: its tables and figures are what its formulas give, and what it says of us is so."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields

import pytest

from benchmarks import capacity
from shopsearch.conf import DEFAULTS
from shopsearch.embedders.remote.embedder import WorkerEmbedder
from shopsearch.vector_stores.milvus import indexes
from shopsearch.vector_stores.milvus.store import LITE_ENTITIES, MilvusStore
from tests import ROOT

PAGE = (ROOT / "docs/scaling.md").read_text()


@pytest.mark.parametrize("name", list(capacity.tables()))
def test_a_table_is_what_the_formulas_give(name):
    (shown,) = re.findall(rf"<!-- {name} -->\n((?:\|.*\n)+)", PAGE)
    assert shown.strip() == capacity.tables()[name], "run python -m benchmarks.capacity"


def test_there_is_no_table_without_a_formula():
    assert sorted(re.findall(r"<!-- (\w+) -->", PAGE)) == sorted(capacity.tables())


@pytest.mark.parametrize("index", capacity.INDEXES)
@pytest.mark.parametrize("dimension", capacity.DIMENSIONS)
def test_twice_the_pictures_need_twice_of_everything(index, dimension):
    for needed in (capacity.memory, capacity.local_disk, capacity.object_storage):
        assert needed(2_000_000, index, dimension) == pytest.approx(2 * needed(1_000_000, index, dimension))
    held = capacity.query_nodes(10**9, index, dimension) * capacity.NODE_BYTES * indexes.MEMORY_SHARE
    assert held >= capacity.memory(10**9, index, dimension)


def test_vectors_by_hand():
    assert indexes.vector_bytes("HNSW", 768) == (4 * 768 + 8 * 32, 0)
    assert indexes.vector_bytes("HNSW_SQ", 768) == (768 + 8 * 32, 0)
    assert indexes.vector_bytes("IVF_RABITQ", 768) == (768 / 8 + 768 + 16, 0)
    assert indexes.vector_bytes("GPU_CAGRA", 768) == (4 * 768 + 4 * 64, 0)
    assert indexes.vector_bytes("DISKANN", 768) == (384, 4096)  # 3,300 bytes: one in a sector
    assert indexes.vector_bytes("DISKANN", 128)[1] == 4096 / 5  # 740 bytes: five in a sector
    assert indexes.vector_bytes("DISKANN", 1024)[1] == 2 * 4096  # 4,324 bytes: two sectors


def test_workers_by_hand():
    assert capacity.worker_rate(float("inf")) == pytest.approx(1 / (0.007 + 1 / 2088 + 1 / 3189))
    for card in capacity.PEAK_FLOPS:
        gpu = capacity.gpu_rate("base", card)
        assert capacity.workers_to_fill(gpu) * capacity.worker_rate(gpu) >= gpu
    assert 30 * capacity.worker_rate(capacity.gpu_rate("base", "L4")) < 3_189


def test_the_figures_between_the_tables():
    picture = 512 * 512 * 3 * 4 / 3
    assert f"{picture / 1e6:.2f} MB" in PAGE
    assert f"{100 * picture / 1e6:.0f} MB a\nsecond" in PAGE
    assert f"that is {10 * 1.5:.0f}." in PAGE
    assert f"{10 * 5_000 * 86_400 * DEFAULTS['RERANK_KEEP_DAYS'] / 1e9:.0f} GB" in PAGE
    assert f"`RERANK_KEEP_DAYS` ({DEFAULTS['RERANK_KEEP_DAYS']})" in PAGE
    assert f"{500 * 200_000 / 1e6:.0f} MB a second" in PAGE
    assert capacity.CHANGES_PER_DAY * max(capacity.PICTURES) / 86_400 < 1 / capacity.ROW_SECONDS


def test_what_the_page_says_of_shopsearch_is_so():
    options = {each.name for each in fields(MilvusStore) if not each.name.startswith("_")}
    assert options <= set(re.findall(r"`([a-z_]+)`", PAGE)), "the page names every option"
    assert indexes.HNSW.build["M"] == 32
    assert f"{LITE_ENTITIES:,}" in PAGE
    assert MilvusStore().consistency_level == "Session"
    assert indexes.HNSW.search == {"ef": 256}
    assert WorkerEmbedder.picture_side == 512


@pytest.mark.services
def test_an_index_entry_takes_the_bytes_that_the_page_says(postgres):
    count = 20_000
    program = f"""
import django; django.setup()
from django.core.management import call_command
from django.db import connection
from shopsearch.models import IndexEntry, StoredImage
call_command("migrate", run_syncdb=True, verbosity=0)
entries = IndexEntry.objects.bulk_create(
    [
        IndexEntry(index="shopsearch_productimage", image_id=str(10**9 + number), state="indexed")
        for number in range({count})
    ],
    batch_size=5_000,
)
StoredImage.objects.bulk_create(
    [
        StoredImage(entry=entry, collection_id=1, generation=0, image_hash="a" * 64, fields_hash="b" * 64)
        for entry in entries
    ],
    batch_size=5_000,
)
with connection.cursor() as cursor:
    cursor.execute(
        "SELECT pg_total_relation_size('shopsearch_indexentry') + pg_total_relation_size('shopsearch_storedimage')"
    )
    print(cursor.fetchone()[0])
"""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "PYTHONPATH": str(ROOT),
        "TEST_DATABASE": json.dumps(postgres.create_database("entry_size")),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) / count == pytest.approx(capacity.ENTRY_BYTES, rel=0.15)
