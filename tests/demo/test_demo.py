"""The demo: its pages, and the launcher that starts everything, stops everything, and embeds nothing twice."""

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.services.demo import Demo, environment_of
from tests.services.waiting import wait_until

linux = pytest.mark.skipif(not Path("/proc").exists(), reason="/proc is not there to find processes in")

# ---------------------------------------------------------------------------------------------------------------------
# The pages, under the demo's own settings: those can be loaded once per process, so in one of their own.

VISIT = """
import html, io, json, re, sys
from django.conf import settings
settings.SHOPSEARCH |= {
    "EMBEDDER": {"BACKEND": "shopsearch.testing.ColourEmbedder"},
    "VECTOR_STORE": {"BACKEND": "shopsearch.testing.MemoryStore"},
}
settings.ALLOWED_HOSTS.append("testserver")
import django
django.setup()
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client
from PIL import Image
from demo_project.catalog.models import Category, Product
from shopsearch.indexing import batch
from shopsearch.models import ProductImage

settings.MEDIA_ROOT.mkdir(parents=True)
call_command("migrate", verbosity=0)
mugs = Category.objects.create(name="Mugs", slug="mugs")
Category.objects.create(name="Nothing yet", slug="nothing")
for number in range(30):
    colour = ("red", "blue", "green")[number % 3]
    product = Product.objects.create(
        title=f"{colour.capitalize()} mug {number}", slug=f"mug-{number}", category=mugs, colour=colour,
        price=None if number == 28 else 1000 + number, stock=number % 5, description="Holds 350 ml.",
        published=number != 29, sku=f"MUG-{number}", brand="Kerb", store="Clay & Co", details={"Material": "<Clay>"},
    )
    picture = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(picture, "JPEG")
    ProductImage.objects.create(product=product, image=ContentFile(picture.getvalue(), name=f"{number}.jpg"))
sneakers = Category.objects.create(name="Sneakers", slug="sneakers")
product = Product.objects.create(title="Checked sneakers", slug="sneakers", category=sneakers, sku="SNE-1", stock=1)
ProductImage.objects.create(product=product, image=ContentFile(picture.getvalue(), name="sneakers.jpg"))

def visit(path):
    response = Client().get(path)
    return {"status": response.status_code, "html": response.content.decode(), "headers": dict(response.headers)}

pages = {"while search is away": visit("/products/mug-3/")}
list(batch.index_pending())
pages |= {path: visit(path) for path in json.load(sys.stdin)}
place = re.search('data-shopsearch-similar="([^"]+)"', pages["/products/mug-3/"]["html"])[1]
pages["loaded later"] = visit(html.unescape(place))
address = re.search('src="(/thumbnails/[^"]+)"', pages["/categories/mugs/"]["html"])[1]
first = Client().get(address)
again = Client().get(address, headers={"If-None-Match": first["ETag"]})
pages["thumbnail"] = {"statuses": [first.status_code, again.status_code], "headers": dict(first.headers)}
pictures = [Client().get(path) for path in re.findall('<img [^>]*src="(/(?!static)[^"]+)"', pages["/"]["html"])]
pages["home's pictures"] = [[each.status_code, each["Content-Type"], len(each.getvalue())] for each in pictures]
json.dump(pages, sys.stdout)
"""
PATHS = (
    "/",
    "/categories/mugs/",
    "/categories/mugs/?page=2",
    "/categories/mugs/?colour=red&price_from=1010&price_to=1020&in_stock=on&order=-price",
    "/categories/mugs/?colour=beige&price_from=cheap&page=1",
    "/categories/mugs/?price_to=1",
    "/products/mug-3/",
    "/products/mug-28/",
    "/products/mug-29/",
    "/search/",
    "/search/?q=red",
    "/search/?q=shoes",
    "/api/suggest/?q=mug+3",
    "/api/schema/",
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    visit = subprocess.run(
        [sys.executable, "-c", VISIT],
        env=environment_of(tmp_path_factory.mktemp("pages") / "demo"),
        cwd=ROOT,
        input=json.dumps(PATHS),
        capture_output=True,
        text=True,
    )
    assert visit.returncode == 0, visit.stderr
    return json.loads(visit.stdout)


def titles(page):
    return re.findall(r'class="(?:card|shopsearch-card)__link"[^>]*>([^<]+)', page["html"])


def test_the_front_page_shows_the_search_box_categories_and_products(pages):
    assert pages["/"]["status"] == 200
    assert pages["/"]["html"].count("data-shopsearch-offline") == 1
    assert 'href="/categories/mugs/"' in pages["/"]["html"]
    assert "Nothing yet" not in pages["/"]["html"]
    assert titles(pages["/"]) == ["Checked sneakers", "Blue mug 28"]


def test_a_category_page_shows_prices_as_a_shop_writes_them(pages):
    page = pages["/categories/mugs/"]
    assert page["status"] == 200
    assert len(titles(page)) == 24
    assert "$1,000.00" in page["html"]
    assert "29 products" in page["html"]


def test_the_products_that_do_not_fit_are_on_the_next_page(pages):
    assert titles(pages["/categories/mugs/?page=2"]) == [f"{colour} mug {number}" for number, colour in (
        (24, "Red"), (25, "Blue"), (26, "Green"), (27, "Red"), (28, "Blue"))]  # fmt: skip


def test_shoes_finds_sneakers_which_no_text_calls_so(pages):
    assert titles(pages["/search/?q=shoes"])[0] == "Checked sneakers"


def test_filters_narrow_a_category_together(pages):
    narrowed = titles(
        pages["/categories/mugs/?colour=red&price_from=1010&price_to=1020&in_stock=on&order=-price"]
    )
    assert narrowed == ["Red mug 18", "Red mug 12"]


def test_a_filter_that_makes_no_sense_is_no_filter(pages):
    assert len(titles(pages["/categories/mugs/?colour=beige&price_from=cheap&page=1"])) == 24


def test_filters_that_nothing_passes_offer_the_way_back(pages):
    page = pages["/categories/mugs/?price_to=1"]
    assert page["status"] == 200
    assert "Nothing passes these filters" in page["html"]


def test_a_product_page_shows_products_that_look_alike(pages):
    page = pages["/products/mug-3/"]
    assert page["status"] == 200
    assert "$1,003.00" in page["html"]
    assert json.loads(pages["/api/suggest/?q=mug+3"]["html"])["products"][0]["price"] == "$1,003.00"
    assert "only three left" in page["html"]
    assert titles(page) == [], "the page does not wait for search"
    similar = titles(pages["loaded later"])
    assert len(similar) == 6
    assert all(title.startswith("Red") for title in similar)
    assert "Red mug 3" not in similar


def test_cards_show_small_pictures_that_browsers_keep(pages):
    thumbnail = pages["thumbnail"]
    assert thumbnail["statuses"] == [200, 304]
    assert thumbnail["headers"]["Content-Type"] == "image/webp"
    assert "immutable" in thumbnail["headers"]["Cache-Control"]


def test_the_home_page_shows_small_pictures_alone(pages):
    pictures = pages["home's pictures"]
    assert len(pictures) > len(list((ROOT / "demo_project/pictures").glob("*.jpg")))
    assert {(status, kind) for status, kind, _ in pictures} == {(200, "image/webp")}
    assert max(size for _, _, size in pictures) < 12_000


def test_a_product_page_does_without_similar_products_while_search_is_away(pages):
    page = pages["while search is away"]
    assert page["status"] == 200
    assert titles(page) == []
    assert "Similar products" not in page["html"]


def test_a_product_page_has_what_the_supplier_says_and_no_price_that_nobody_knows(pages):
    page = pages["/products/mug-28/"]
    assert page["status"] == 200
    for fact in ("MUG-28", "Kerb", "Clay &amp; Co", "Material", "&lt;Clay&gt;"):
        assert fact in page["html"]
    assert "product__price" not in page["html"]
    assert "None" not in page["html"]
    assert pages["/categories/mugs/?page=2"]["status"] == 200
    assert "None" not in pages["/categories/mugs/?page=2"]["html"]


def test_a_product_that_is_not_published_has_no_page(pages):
    assert pages["/products/mug-29/"]["status"] == 404


def test_the_search_page_has_the_headers_box_and_no_second_one(pages):
    for path in ("/search/", "/search/?q=red"):
        assert pages[path]["html"].count("data-shopsearch-offline") == 1


def test_the_search_page_shows_results_with_the_shops_prices(pages):
    page = pages["/search/?q=red"]
    assert page["status"] == 200
    assert all(title.startswith("Red") for title in titles(page)[:9])
    assert "$1,003.00" in page["html"]
    assert json.loads(pages["/api/suggest/?q=mug+3"]["html"])["products"][0]["price"] == "$1,003.00"


def test_the_schema_of_the_api_names_the_search(pages):
    assert "/api/search/" in pages["/api/schema/"]["html"]


def test_pages_work_under_a_policy_that_lets_nothing_in_from_elsewhere(pages):
    for path in ("/", "/categories/mugs/", "/products/mug-3/", "/search/?q=red"):
        page = pages[path]
        assert page["headers"]["Content-Security-Policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in page["headers"]["Content-Security-Policy"]
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page["html"])
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page["html"])


# ---------------------------------------------------------------------------------------------------------------------
# The launcher


@pytest.fixture
def start(tmp_path):
    demos = []

    def start(*arguments, **options):
        demos.append(Demo(tmp_path / "demo", *arguments, **options))
        return demos[-1]

    yield start
    for demo in demos:
        demo.clear()


@linux
@pytest.mark.services
# By day the other mode is tests/browser/test_demo.py's.
@pytest.mark.parametrize("mode", [pytest.param("--one-process", marks=pytest.mark.nightly), "--processes"])
def test_the_demo_starts_answers_stops_and_embeds_nothing_twice(start, mode):
    if mode == "--processes" and not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")

    first = start(mode, "--products", "24")
    first.wait_until_ready()
    assert "Motley" in first.get("")
    assert first.search("red+mug")
    assert json.loads(first.get("api/suggest/?q=mug"))["categories"][0]["count"] > 1, "words are counted"
    assert [state for _, state, _ in first.entries()] == ["indexed"] * 24
    assert len(first.processes()) == (1 if mode == "--one-process" else 8)
    if mode == "--processes":
        assert first.with_torch() == {"-m celery", "manage.py shopsearch_query_worker"}, "not the web server"
        assert first.shared_keys("shopsearch:throttle:search:"), (
            "both web processes count a visitor's searches together"
        )
    indexed = first.entries()
    assert first.stop(signal.SIGTERM) == 0
    assert first.processes() == {}
    assert not [line for line in first.lines if " INFO " in line], "logs are for files, not for the terminal"

    second = start(mode, "--products", "24")
    second.wait_until_ready()
    assert second.entries() == indexed
    assert second.search("red+mug")
    if mode == "--processes":
        # Even kill -9 of the launcher leaves nothing behind.
        second.process.kill()
        second.process.wait()
        wait_until(lambda: second.processes() == {}, "the children ended with their launcher")
    else:
        assert second.stop(signal.SIGINT) == 0
        assert second.processes() == {}


@linux
@pytest.mark.services
def test_a_child_that_dies_is_named_and_the_others_are_stopped(start):
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    demo = start("--processes", "--products", "1")
    worker = wait_until(
        lambda: [pid for pid, command in demo.processes().items() if " worker " in command], "a worker runs"
    )
    os.kill(worker[0], signal.SIGKILL)
    assert demo.process.wait(timeout=90) == 1
    assert any(line.startswith("CommandError: The worker ended by itself (status -9)") for line in demo.lines)
    assert demo.processes() == {}


def test_a_port_that_is_taken_is_a_sentence_that_says_what_to_do(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        demo = start(port=taken.getsockname()[1])
        assert demo.process.wait(timeout=60) == 1
    assert demo.lines == [
        f"CommandError: Port {demo.port} is taken. Choose another one: make demo PORT={demo.port + 1}"
    ]


def test_a_port_that_is_none_is_a_sentence_that_says_what_to_do(start):
    demo = start(port=65536)
    assert demo.process.wait(timeout=60) == 1
    assert demo.lines == [
        "CommandError: There is no port 65536. Choose one from 1 to 65535: make demo PORT=8000"
    ]


def test_a_second_demo_over_the_same_folder_is_refused(start, tmp_path):
    folder = tmp_path / "demo"
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        demo = start()
        assert demo.process.wait(timeout=60) == 1
    assert demo.lines[-1].startswith(f"CommandError: The demo of {folder} is running already. Stop it, or ")
