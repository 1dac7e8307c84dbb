"""The released django-oscar with search, as docs/how-to-oscar.md has it made, over the storefront's products."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from urllib.parse import urlencode

import httpx2
import pytest
from playwright.sync_api import expect

from tests import ROOT, SHARED
from tests.browser.conftest import browser_type_launch_args, context  # noqa: F401
from tests.contrib import oscar_shop
from tests.services.milvus import free_port
from tests.services.waiting import wait_until

HOW_TO = (ROOT / "docs" / "how-to-oscar.md").read_text()
RECIPE = HOW_TO[HOW_TO.index("## The recipe") : HOW_TO.index("## Decide more yourself")]
FILES = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", RECIPE, re.DOTALL)
STOREFRONT = SHARED / "data" / "storefront"

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(
        importlib.util.find_spec("oscar") is None,
        reason="django-oscar is not installed: requirements-dev.txt",
    ),
    pytest.mark.skipif(not STOREFRONT.exists(), reason="the storefront's products are not here"),
]


def made(folder):
    """An Oscar shop in which the recipe was followed, in this folder."""
    package = folder / "yourshop"
    package.mkdir()
    (folder / "manage.py").write_text(oscar_shop.MANAGE)
    (package / "settings.py").write_text(oscar_shop.SETTINGS)
    (package / "urls.py").write_text(oscar_shop.URLS)
    for name, text in FILES:
        with (package / name).open("a") as file:
            file.write(text)
    with (package / "settings.py").open("a") as file:
        file.write(oscar_shop.STAND_INS)
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return made(tmp_path_factory.mktemp("shop"))


def environment_of(shop):
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(shop), str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "DJANGO_SETTINGS_MODULE": "yourshop.settings",
    }


def python(shop, *arguments):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=shop,
        env=environment_of(shop),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def seen(shop):
    """What was seen in the shop, by name: tests/contrib/oscar_day.py."""
    python(shop, "manage.py", "check", "--fail-level", "WARNING", "--tag", "shopsearch")
    python(shop, "manage.py", "migrate", "-v0")
    return json.loads(python(shop, ROOT / "tests/contrib/oscar_day.py", STOREFRONT).splitlines()[-1])


def test_the_recipe_has_ten_steps_and_thirty_lines_at_most_and_changes_no_file_of_oscar():
    steps = re.findall(r"^\d+\\\. ", RECIPE, re.MULTILINE)
    lines = [line for _, text in FILES for line in text.splitlines() if line.strip()]
    assert (len(steps), len(lines)) == (8, 13)
    assert {name for name, _ in FILES} == {"settings.py", "urls.py", "celery.py", "__init__.py"}


def test_every_product_is_found_once_though_variants_have_pictures_of_their_own(seen):
    assert seen["indexed"] == seen["pictures"]
    assert seen["pictures of variants"] > 5
    assert seen["found"] == seen["products"]
    assert seen["found once each"]


def test_the_upc_of_a_variant_finds_its_parent(seen):
    assert seen["by the UPC of a variant"] == ["Blue Plimsolls"]


def test_a_category_narrows_and_a_price_sorts(seen):
    assert seen["in a category"] == ["Blue Plimsolls", "Dash Force", "Paul's Balance 420", "White Plimsolls"]
    assert seen["cheapest"]["price"] == "£1.99"


def test_the_widget_is_in_the_header_and_the_page_in_the_shops_layout(seen):
    assert seen["widgets on the page"] == seen["widgets at home"] == 1
    assert seen["a category's name as a facet"]
    assert seen["cards with a price"] == 24


def test_the_last_piece_that_is_allocated_takes_the_product_out_of_stock(seen):
    assert seen["in stock while one is left"]
    assert seen["noted by the last allocation"]
    assert not seen["in stock without any"]
    assert seen["still found"]


def test_a_save_in_the_dashboard_is_followed(seen):
    assert seen["after a save in the dashboard"] == ["Azure Plimsolls"]


def test_a_hidden_parent_hides_its_variants_pictures_and_a_hidden_variant_its_own_alone(seen):
    assert not seen["with a hidden parent"]
    assert seen["with a hidden variant"]


def test_a_deleted_category_is_followed(seen):
    assert seen["of a deleted category"] == []


def test_the_number_of_queries_does_not_grow_with_the_shop(seen):
    few, more = seen["queries with few and with more"]
    assert few == more


@pytest.fixture
def open_shop(tmp_path):
    """The folder and the address of a shop that is open: tests/contrib/oscar_open.py."""
    shop, address = made(tmp_path), f"127.0.0.1:{free_port()}"
    python(shop, "manage.py", "migrate", "-v0")
    command = [sys.executable, ROOT / "tests/contrib/oscar_open.py", STOREFRONT, address]
    with (shop / "log").open("wb") as log:
        process = subprocess.Popen(
            list(map(str, command)), cwd=shop, env=environment_of(shop), stdout=log, stderr=log
        )

    def answers():
        assert process.poll() is None, (shop / "log").read_text()
        try:
            return httpx2.get(f"http://{address}/api/health/live/").status_code == 200
        except httpx2.TransportError:
            return False

    try:
        wait_until(answers, "the shop is open")
        yield shop, f"http://{address}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.browser
@pytest.mark.nightly
def test_a_shopper_searches_staff_saves_and_the_last_piece_is_sold(open_shop, page):
    shop, address = open_shop
    titles = page.locator(".shopsearch-card__title")

    def search(**parameters):
        page.goto(f"{address}/search/?{urlencode({'q': 'plimsolls', **parameters})}")
        return titles.all_inner_texts()

    page.goto(f"{address}/catalogue/")
    box = page.get_by_role("search")
    box.get_by_role("combobox", name="Search by words").fill("blue plimsolls")
    box.get_by_role("combobox", name="Search by words").press("Enter")
    expect(titles.first).to_have_text("Blue Plimsolls")
    assert page.url.startswith(f"{address}/search/?q=blue")
    page.goto(f"{address}/catalogue/")
    picture = next(each for each in (shop / "media").rglob("*") if each.suffix in (".jpg", ".png", ".webp"))
    page.get_by_role("search").locator("input[name=image]").last.set_input_files(picture)
    expect(titles.first).to_be_visible()

    page.goto(f"{address}/dashboard/login/?next=/dashboard/catalogue/")
    page.fill("[name=username]", "admin@example.com")
    page.fill("[name=password]", "admin")
    page.locator("[name=password]").press("Enter")
    page.get_by_role("link", name="Blue Plimsolls", exact=True).first.click()
    page.fill("#id_title", "Azure Plimsolls")
    page.get_by_role("button", name="Save", exact=True).first.click()
    wait_until(lambda: search(q="azure")[0] == "Azure Plimsolls", "the new title is found")

    sell = "import django; django.setup(); from oscar.apps.partner.models import StockRecord as S; "
    sell += "[each.allocate(1) for each in S.objects.filter(product__parent__title='White Plimsolls')]"
    assert "White Plimsolls" in search(in_stock="true")
    python(shop, "-c", sell)
    wait_until(lambda: "White Plimsolls" not in search(in_stock="true"), "the last piece is sold", seconds=15)
    assert "White Plimsolls" in search()
