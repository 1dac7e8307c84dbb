"""The parts of a shopper's picture that a detector proposes, in a real browser."""

import pytest
from playwright.sync_api import expect

from shopsearch.indexing import batch
from shopsearch.models import Change, ProductImage
from shopsearch.registry import index_for
from tests.browser.conftest import upload


@pytest.fixture(autouse=True)
def detector(shop, settings):
    backend = {"BACKEND": "tests.shop.detectors.MugAndLamp"}
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "DETECTOR": backend}
    Change.objects.note_all(index_for(ProductImage))
    list(batch.index_pending())


def test_each_part_is_a_button_that_moves_the_frame_by_keyboard_too(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/")
    shopper.locator("input[type=file]:not([capture])").set_input_files(upload("red"))
    shopper.get_by_role("button", name="Only a part of it").click()
    mug, lamp = (
        shopper.get_by_role("button", name=f"Part {number}: {label}")
        for number, label in ((1, "mug"), (2, "lamp"))
    )
    expect(lamp).to_be_visible()
    mug.focus()
    shopper.keyboard.press("Enter")
    link = shopper.locator("[data-shopsearch-part-link]")
    assert "box=0.1%2C0.25%2C0.2%2C0.5" in link.get_attribute("href")
    expect(shopper.get_by_role("dialog").get_by_role("status")).to_have_text(
        "10 percent from the left, 25 from the top, 20 wide, 50 high"
    )
    asked = []
    shopper.on("request", lambda request: asked.append(request.url))
    shopper.keyboard.press("Escape")
    shopper.get_by_role("button", name="Only a part of it").click()
    expect(lamp).to_be_visible()
    assert not [url for url in asked if "objects" in url], "one picture is looked at once"
