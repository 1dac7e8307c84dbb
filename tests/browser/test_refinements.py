"""Narrowing and sorting in a real browser: wide and narrow, by script and without, and from right to left."""

import re

import pytest
from playwright.sync_api import expect

from shopsearch.indexing import batch
from tests.browser.test_widget import cards
from tests.shop.models import Category, Product

OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(autouse=True)
def _categories(shop):
    mugs, plates = (Category.objects.create(name=name) for name in ("mugs", "plates"))
    for number, product in enumerate(Product.objects.order_by("pk")):
        product.category = plates if number % 4 else mugs
        product.save()
    list(batch.index_pending())


def choice(page, name):
    return page.get_by_role("link", name=re.compile(f"^{name}, "))


def prices(page):
    return [int(title.split()[-1]) for title in page.locator(".shopsearch-card__link").all_text_contents()]


def narrow(page):
    page.set_viewport_size({"width": 390, "height": 844})


def test_a_value_is_chosen_and_taken_back_by_links_that_say_what_they_would_leave(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    expect(choice(shopper, "plates")).to_have_accessible_name("plates, 15 products")
    choice(shopper, "mugs").click()
    expect(shopper).to_have_url(re.compile("category=mugs"))
    expect(cards(shopper)).to_have_count(5)
    expect(choice(shopper, "mugs")).to_have_attribute("aria-current", "true")
    expect(choice(shopper, "mugs")).to_be_focused()
    expect(choice(shopper, "plates")).to_have_accessible_name("plates, 15 products")
    choice(shopper, "plates").click()
    expect(cards(shopper)).to_have_count(8)
    shopper.get_by_role("link", name="Category: plates. Remove").click()
    expect(cards(shopper)).to_have_count(5)
    expect(shopper.get_by_role("heading", level=1)).to_be_focused()
    shopper.go_back()
    expect(shopper).to_have_url(re.compile("category=mugs&category=plates"))


def test_another_order_applies_by_itself_and_stays_with_filters_and_further_results(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    expect(shopper.get_by_role("button", name="Sort", exact=True)).to_be_hidden()
    shopper.get_by_role("combobox", name="Sort by").select_option("Price: high to low")
    expect(shopper).to_have_url(re.compile("sort=-price"))
    expect(shopper.locator(".shopsearch-card__link").first).to_have_text(re.compile("19$"))
    shopper.get_by_role("link", name="Show more").click()
    expect(cards(shopper)).to_have_count(16)
    assert prices(shopper) == list(range(19, 3, -1))
    choice(shopper, "mugs").click()
    expect(cards(shopper)).to_have_count(5)
    assert prices(shopper) == [16, 12, 8, 4, 0]
    expect(shopper.get_by_role("combobox", name="Sort by")).to_have_value("-price")


def test_where_it_is_narrow_the_filters_are_a_sheet_that_stays_open_and_says_what_it_leaves(
    shopper, live_server
):
    narrow(shopper)
    shopper.goto(f"{live_server.url}/search/?q=red")
    expect(choice(shopper, "mugs")).to_be_hidden()
    shopper.get_by_text("Filter", exact=True).click()
    choice(shopper, "mugs").click()
    expect(cards(shopper)).to_have_count(5)
    expect(choice(shopper, "mugs")).to_be_visible()
    shopper.get_by_role("spinbutton", name="Price, at least").fill("5")
    shopper.get_by_role("button", name="Apply").click()
    expect(cards(shopper)).to_have_count(3)
    expect(shopper.get_by_role("link", name="Clear", exact=True)).to_be_in_viewport()
    shopper.get_by_role("button", name="Show 3 results").click()
    expect(choice(shopper, "mugs")).to_be_hidden()
    expect(shopper.get_by_role("link", name="Price: from 5")).to_be_visible()
    assert not shopper.evaluate(OVERFLOWS)


@pytest.mark.parametrize("width", [390, 1280])
def test_a_shop_that_reads_from_right_to_left_is_mirrored_and_nothing_sticks_out(
    shopper, live_server, settings, width
):
    settings.LANGUAGE_CODE = "ar"
    shopper.set_viewport_size({"width": width, "height": 844})
    shopper.goto(f"{live_server.url}/search/?q=red&category=mugs&price__lte=15&sort=price")
    expect(shopper.locator("html")).to_have_attribute("dir", "rtl")
    assert not shopper.evaluate(OVERFLOWS)
    box = shopper.locator(".shopsearch__box").bounding_box()
    submit = shopper.locator(".shopsearch__submit").bounding_box()
    assert (
        submit["x"] - box["x"] < box["width"] / 2
    )  # the button ends the line, and the line ends on the left
    if width == 390:
        shopper.locator(".shopsearch-refine__button").click()
        assert not shopper.evaluate(OVERFLOWS)
    else:
        grid = shopper.locator("[data-shopsearch-list]").bounding_box()
        assert choice(shopper, "mugs").bounding_box()["x"] > grid["x"] + grid["width"]


class TestWithoutJavaScript:
    @pytest.fixture
    def browser_context_args(self, browser_context_args):
        return {**browser_context_args, "java_script_enabled": False}

    def test_values_chips_and_the_order_are_links_and_a_form(self, shopper, live_server):
        shopper.goto(f"{live_server.url}/search/?q=red")
        choice(shopper, "mugs").click()
        expect(cards(shopper)).to_have_count(5)
        shopper.get_by_role("combobox", name="Sort by").select_option("price")
        shopper.get_by_role("button", name="Sort", exact=True).click()
        expect(shopper).to_have_url(re.compile("category=mugs.*sort=price"))
        assert prices(shopper) == [0, 4, 8, 12, 16]
        shopper.get_by_role("link", name="Category: mugs. Remove").click()
        expect(cards(shopper)).to_have_count(8)
        assert prices(shopper) == list(range(8))
