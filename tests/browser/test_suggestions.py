"""Suggestions while typing, in a browser: by keyboard alone, by touch, and never in a shopper's way."""

import re

import pytest
from playwright.sync_api import expect

from shopsearch.indexing import vocabulary
from shopsearch.registry import get_index
from shopsearch.search import spelling


@pytest.fixture
def box(shopper, monkeypatch):
    """The header's box, in a shop whose words are known."""
    monkeypatch.setattr(type(get_index()), "words", ("title",))
    vocabulary.recount(get_index())
    spelling.forget()
    return shopper.get_by_role("search").first.get_by_role("combobox")


def options(page):
    return page.get_by_role("option").filter(visible=True)


def active(box):
    """The option that a screen reader reads."""
    return box.page.locator(f"[id='{box.get_attribute('aria-activedescendant')}']")


def test_by_keyboard_alone(shopper, box):
    shopper.keyboard.press("Tab")
    expect(box).to_be_focused()
    expect(box).to_have_attribute("aria-expanded", "false")  # nothing was searched for yet
    shopper.keyboard.type("r")
    shopper.keyboard.type("e")
    expect(box).to_have_attribute("aria-expanded", "true")
    expect(options(shopper)).to_have_count(5)  # one word and four products
    expect(shopper.get_by_role("status").first).to_have_text("Suggestions: 5")
    expect(box).not_to_have_attribute("aria-activedescendant", re.compile("."))
    shopper.keyboard.press("ArrowDown")
    expect(active(box)).to_have_text("red")
    shopper.keyboard.press("Escape")
    expect(box).to_have_attribute("aria-expanded", "false")
    expect(box).to_have_value("re")
    shopper.keyboard.press("ArrowDown")  # the same list again, nothing chosen
    expect(box).to_have_attribute("aria-expanded", "true")
    shopper.keyboard.press("ArrowUp")
    expect(active(box)).to_have_text(re.compile("red thing"))
    shopper.keyboard.press("ArrowDown")
    shopper.keyboard.press("ArrowDown")
    shopper.keyboard.press("Enter")
    shopper.wait_for_url("**/search/?q=red")
    expect(shopper.get_by_role("heading", level=1)).to_have_text(re.compile("red"))

    box = shopper.get_by_role("search").first.get_by_role("combobox")
    box.focus()
    box.fill("")
    expect(options(shopper)).to_have_text(["red", "Clear recent searches"])
    shopper.keyboard.press("Tab")
    expect(box).to_have_attribute("aria-expanded", "false")
    box.fill("thi")
    expect(options(shopper).first).to_have_text("thing")
    shopper.keyboard.press("ArrowUp")
    shopper.keyboard.press("Enter")
    shopper.wait_for_url("**/products/*/")
    shopper.go_back()
    box.focus()
    box.fill("")
    shopper.keyboard.press("ArrowDown")
    shopper.keyboard.press("ArrowDown")
    shopper.keyboard.press("Enter")  # forget them
    expect(box).to_have_attribute("aria-expanded", "false")
    assert shopper.evaluate("localStorage.getItem('shopsearch-recent')") is None


@pytest.mark.nightly
def test_nothing_is_asked_while_a_word_is_composed_nor_below_two_characters_and_late_answers_are_dropped(
    shopper, box
):
    asked, held = [], []

    def answered(route):
        asked.append(re.search(r"[?&]q=([^&]*)", route.request.url)[1])
        held.append(route) if asked[-1] == "re" else route.continue_()

    shopper.route("**/api/suggest/**", answered)
    box.fill("r")
    composed = """(box, [type, value]) => {
        box.value = value;
        box.dispatchEvent(new CompositionEvent(type, { bubbles: true }));
        box.dispatchEvent(new InputEvent("input", { bubbles: true, isComposing: type !== "compositionend" }));
    }"""
    box.focus()
    for step in (["compositionstart", "th"], ["compositionupdate", "thi"]):
        box.evaluate(composed, step)
    box.evaluate(
        "(box) => box.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown', keyCode: 229 }))"
    )
    box.evaluate(composed, ["compositionend", "thing"])
    expect(options(shopper).first).to_be_visible()
    assert asked == ["thing"]
    box.fill("re")
    while not held:
        shopper.wait_for_timeout(10)
    box.fill("blue")
    expect(options(shopper).first).to_have_text(re.compile("blue"))
    for route in held:
        route.abort()
    expect(options(shopper).first).to_have_text(re.compile("blue"))


@pytest.mark.nightly
def test_a_browser_that_keeps_nothing_and_a_shop_that_suggests_nothing_are_no_trouble(shopper, box):
    shopper.evaluate(
        "() => { Storage.prototype.getItem = Storage.prototype.setItem = () => { throw new Error(); }; }"
    )
    shopper.route("**/api/suggest/**", lambda route: route.fulfill(status=502))
    with shopper.expect_response("**/api/suggest/**"):
        box.fill("red")
    expect(box).to_have_attribute("aria-expanded", "false")
    box.press("Enter")
    expect(shopper).to_have_url(re.compile(r"\?q=red"))
