"""``manage.py import_amazon_reviews``: killed, resumed, fed with bad addresses, with reviews and with folders.

SHOPSEARCH_IMPORT_RECORDS=900 runs it in full, and compares its memory with that of ten times as many.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.services.amazon_reviews import Catalogue, review, sku_of
from tests.services.demo import ROOT, environment_of
from tests.services.picture_server import jpeg, picture_server
from tests.services.waiting import wait_until

RECORDS = int(os.environ.get("SHOPSEARCH_IMPORT_RECORDS", "90"))
BROKEN_LINES = [(2, "{"), (5, "[1, 2]"), (8, '{"title": "Nobody\'s"}'), (11, "\x00\x01"), (14, "   ")]


class Shop:
    """The demo's shop in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = environment_of(folder)

    def start(self, *arguments, output=subprocess.PIPE):
        return subprocess.Popen(
            [sys.executable, "manage.py", *map(str, arguments)],
            cwd=ROOT,
            env=self.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments):
        process = self.start(*arguments)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    def rows(self, query):
        with sqlite3.connect(self.folder / "shop.sqlite3") as database:
            return database.execute(query).fetchall()

    def count(self, table):
        [(count,)] = self.rows(f"SELECT count(*) FROM {table}")
        return count

    def files(self):
        return [path for path in (self.folder / "media").rglob("*") if path.is_file()]

    def failures(self):
        lines = (self.folder / "amazon-reviews-failures.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def server():
    with picture_server() as running:
        yield running


@pytest.fixture(scope="module")
def empty_shop(tmp_path_factory):
    shop = Shop(tmp_path_factory.mktemp("empty"))
    shop.run("migrate", "--verbosity", "0")
    return shop


@pytest.fixture
def new_shop(empty_shop, tmp_path):
    def make(name):
        shutil.copytree(empty_shop.folder, tmp_path / name)
        return Shop(tmp_path / name)

    return make


@pytest.fixture
def shop(new_shop):
    return new_shop("demo")


def fetching(server):
    return (
        *("--allow-http", "--allow-network", "127.0.0.1/32", "--allow-port", server.port),
        *("--seconds", 2, "--retries", 1),
    )


def test_killed_and_resumed_nothing_is_there_twice_and_every_failure_is_told(server, shop, tmp_path):
    catalogue = Catalogue(server, RECORDS, broken_lines=BROKEN_LINES)
    meta = catalogue.write(tmp_path / "meta_Cases.jsonl.gz")

    server.hold_after(RECORDS // 2)
    killed = shop.start("import_amazon_reviews", meta, *fetching(server))
    wait_until(
        lambda: shop.count("shopsearch_productimage") >= RECORDS // 3, "a third of the pictures is there"
    )
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = shop.count("shopsearch_productimage")
    assert before < len(catalogue.good)
    server.release()

    output = shop.run("import_amazon_reviews", meta, *fetching(server))

    assert f"{RECORDS} products" in output
    skus = [sku for (sku,) in shop.rows("SELECT sku FROM catalog_product")]
    assert Counter(skus) == Counter(sku_of(number) for number in range(RECORDS))
    sources = [address for (address,) in shop.rows("SELECT address FROM catalog_picturesource")]
    assert Counter(sources) == Counter(catalogue.good)
    images = [name for (name,) in shop.rows("SELECT image FROM shopsearch_productimage")]
    assert {str(path.relative_to(shop.folder / "media")) for path in shop.files()} == set(images)
    assert len({path.read_bytes() for path in shop.files()}) == len(images) == len(catalogue.good)

    failures = shop.failures()
    by_address = {each["address"]: each["reason"].split(":")[0] for each in failures if each["address"]}
    assert by_address == catalogue.faults
    broken = [place + 1 for place, line in BROKEN_LINES if line.strip()]
    assert [each["line"] for each in failures if not each["address"]] == broken
    assert len(failures) == len(catalogue.faults) + len(broken)
    assert f"{len(failures)} failures" in output
    # Each image is noted for the workers, and none twice.
    noted = shop.rows("SELECT image_id FROM shopsearch_change")
    assert len(noted) == len(set(noted)) == len(images)

    rows = shop.rows("SELECT * FROM catalog_product")
    server.requests.clear()
    output = shop.run("import_amazon_reviews", meta, *fetching(server))
    assert f"{RECORDS} products, 0 of them new, 0 pictures added" in output
    assert shop.rows("SELECT * FROM catalog_product") == rows
    assert {server.address + path for path, _ in server.requests} == catalogue.faults.keys()


def test_shoppers_own_pictures_are_further_pictures_of_the_product(server, shop, tmp_path):
    meta = Catalogue(server, 3).write(tmp_path / "meta.jsonl")
    good = [f"{server.address}/good/review-{number}.jpg" for number in range(5)]
    written = [
        review(0, good[0], f"{server.address}/missing/review.jpg", good[1]),
        review(1),
        review(999, good[4]),  # of a product that the shop does not have
        review(0, good[0], good[2], good[3]),
    ]
    reviews = tmp_path / "Cases.jsonl"
    reviews.write_text("\n".join(map(json.dumps, written)))

    shop.run("import_amazon_reviews", meta, reviews, *fetching(server), "--review-pictures", 4)

    own = "SELECT s.address FROM catalog_picturesource s JOIN shopsearch_productimage i ON i.id = s.image_id"
    assert [row[0] for row in shop.rows(f"{own} WHERE i.position >= 1000 ORDER BY i.position")] == [
        good[0],
        good[1],
        good[2],
    ]
    assert shop.count("shopsearch_productimage") == 6
    assert [each["file"] for each in shop.failures()] == ["Cases.jsonl"]


def test_pictures_of_a_folder_are_matched_by_name_and_the_limit_counts_products(server, shop, tmp_path):
    catalogue = Catalogue(server, 12)
    meta = catalogue.write(tmp_path / "meta.jsonl")
    folder = tmp_path / "images_folder" / "images"
    folder.mkdir(parents=True)
    for number in (1, 2, 4, 5, 6):
        (folder / f"51{number:05}X+L._AC_.jpg").write_bytes(jpeg(str(number)))
    (folder / f"{sku_of(8)}.jpg").write_bytes(jpeg("8"))
    (folder / "510009X+L._AC_.jpg").write_bytes(b"not a picture")

    shop.run("import_amazon_reviews", meta, "--images", folder, "--limit", 3)
    assert [sku for (sku,) in shop.rows("SELECT sku FROM catalog_product")] == [
        sku_of(1),
        sku_of(2),
        sku_of(4),
    ]
    shop.run("import_amazon_reviews", meta, "--images", folder.parent)
    assert shop.count("catalog_product") == shop.count("shopsearch_productimage") == 6
    assert server.requests == []


def peak_of(process):
    """In MiB; None where it has just ended."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return round(int(found[1]) / 1024, 1) if found else None


@pytest.mark.skipif(
    "SHOPSEARCH_IMPORT_RECORDS" not in os.environ, reason="SHOPSEARCH_IMPORT_RECORDS is not set"
)
def test_memory_does_not_grow_with_the_catalogue(server, new_shop, tmp_path):
    peaks = dict.fromkeys((RECORDS, 10 * RECORDS), 0)
    for records in peaks:
        shop = new_shop(str(records))
        meta = Catalogue(server, records).write(tmp_path / f"{records}.jsonl")
        process = shop.start("import_amazon_reviews", meta, *fetching(server), output=subprocess.DEVNULL)
        # Not the kernel's account of a process that has ended: that begins with what its parent had.
        while process.poll() is None:
            peaks[records] = peak_of(process) or peaks[records]
            time.sleep(0.02)
        assert process.returncode == 0
    print("peak memory in MiB:", peaks)
    assert peaks[10 * RECORDS] < peaks[RECORDS] * 1.1
