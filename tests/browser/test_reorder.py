"""The better order in a real browser: after the results, with a reason, and never under the shopper's hands."""

import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.db.models.functions import Now
from playwright.sync_api import expect

from shopsearch.models import Rerank
from shopsearch.search import reranking
from shopsearch.search.reasons import Control, Reason
from tests.shop.rerankers import LastFirst

RERANKS = re.compile("/api/reranks/")
COUNT_GLIDES = """() => {
    const animate = Element.prototype.animate;
    window.glides = 0;
    Element.prototype.animate = function (...steps) { window.glides += 1; return animate.apply(this, steps); };
}"""
SHIFTS = """() => new Promise((resolve) => {
    new PerformanceObserver((list) => resolve(list.getEntries().reduce((sum, each) => sum + each.value, 0)))
        .observe({ type: "layout-shift", buffered: true });
    setTimeout(resolve, 500, 0);
})"""


def line(page):
    return page.locator("[data-shopsearch-order]")


def cells(page):
    return page.locator("[data-shopsearch-list] > li")


def products(page):
    return cells(page).evaluate_all("cells => cells.map((cell) => cell.dataset.productId)")


def order():
    return [str(each) for each in Rerank.objects.latest("created_at").order]


def wait_for(page, state):
    expect(line(page)).to_have_attribute("data-shopsearch-order", state)


@pytest.fixture
def polls(shopper):
    """The addresses of reranks that the page has asked for."""
    asked = []
    shopper.on("request", lambda request: asked.append(request.url) if RERANKS.search(request.url) else None)
    return asked


@pytest.fixture
def clock(shopper):
    """The page's own, which a test may advance. Name it before ``first``: it must be there when the page loads."""
    shopper.clock.install()
    return shopper.clock


def top_of_the_list(page):
    """Whatever is still gliding."""
    return page.locator("[data-shopsearch-list]").evaluate("list => list.offsetTop")


@pytest.fixture
def first(shopper, live_server, polls):
    """The results of a search whose rerank waits for an answer, in retrieval's order."""
    with shopper.expect_response(RERANKS):
        shopper.goto(f"{live_server.url}/search/?q=red")
        expect(cells(shopper)).to_have_count(8)
    return products(shopper)


def test_the_results_are_there_first_and_then_their_cards_move_to_the_better_order(shopper, first):
    wait_for(shopper, "waiting")
    cells(shopper).evaluate_all("cells => cells.forEach((cell, place) => { cell.cameFrom = place; })")
    assert reranking.answer_next()
    wait_for(shopper, "shown")
    assert order() != first
    assert products(shopper) == order()
    assert shopper.evaluate(SHIFTS) < 0.02  # gliding is no jump
    came_from = cells(shopper).evaluate_all("cells => cells.map((cell) => cell.cameFrom)")
    assert [first[place] for place in came_from] == order()  # the very same nodes


def test_the_line_above_says_why_and_a_screen_reader_is_told_once(shopper, first):
    assert reranking.answer_next()
    expect(line(shopper)).to_contain_text("Better order")
    expect(line(shopper)).to_contain_text("The first one: it has waited longest.")
    expect(line(shopper)).to_contain_text("Looks like: a square")
    status = shopper.get_by_role("status").first
    expect(status).to_have_text(
        "The results are in a better order now. The first one: it has waited longest."
    )


def test_on_a_phone_a_long_reason_leaves_the_cards_where_they_are_until_it_is_read_on(shopper, live_server):
    shopper.set_viewport_size({"width": 390, "height": 844})
    shopper.goto(f"{live_server.url}/search/?q=red")
    wait_for(shopper, "waiting")
    expect(shopper.locator(".shopsearch-order__text")).to_be_hidden()
    place = top_of_the_list(shopper)
    backwards = [each["product"] for each in Rerank.objects.get().candidates][::-1]
    reason = "it has waited longest, and " * 8 + "so on."
    Rerank.objects.update(state=Rerank.State.DONE, order=backwards, reason=reason, finished_at=Now())
    wait_for(shopper, "shown")
    button = shopper.get_by_role("button", name="Read on")
    expect(button).to_be_visible()
    assert top_of_the_list(shopper) == place
    button.click()
    expect(button).not_to_be_visible()
    expect(shopper.get_by_role("button", name="Undo")).to_be_focused()
    text = shopper.locator(".shopsearch-order__text")
    assert text.evaluate("text => text.scrollHeight <= text.clientHeight + 1")


def test_with_the_order_come_links_that_keep_drop_or_change_what_the_first_one_shares(
    shopper, first, monkeypatch
):
    controls = [
        Control(action="keep", label="with “mug”", add="mug"),
        Control(action="drop", label="without “teal”", remove="teal"),  # which was not asked for
        Control(action="change", label="blue", filters={"category": "blue"}, swatch="#2222dd"),
    ]
    reason = Reason(kind="words", value="red", label="red", controls=controls)
    monkeypatch.setattr(reranking, "reasons_of", lambda *args: [reason])
    place = top_of_the_list(shopper)
    assert reranking.answer_next()
    wait_for(shopper, "shown")
    chips = shopper.locator(".shopsearch-reason")
    assert [urlsplit(each.get_attribute("href")).query for each in chips.all()] == [
        "q=red+mug",
        "q=red&category=blue",
    ]
    assert chips.all_inner_texts() == ["with “mug”", "blue"]
    expect(chips.nth(1).locator("circle")).to_have_attribute("fill", "#2222dd")
    assert shopper.evaluate(SHIFTS) < 0.02
    assert top_of_the_list(shopper) == place
    shopper.get_by_role("button", name="Undo").click()
    expect(chips.first).to_be_hidden()
    assert top_of_the_list(shopper) == place
    shopper.get_by_role("button", name="Show the better order").click()
    chips.first.focus()
    shopper.keyboard.press("Enter")
    expect(shopper).to_have_url(re.compile(r"q=red\+mug$"))


def test_undo_restores_the_first_order_and_the_better_one_can_be_had_again(shopper, first):
    assert reranking.answer_next()
    shopper.get_by_role("button", name="Undo").click()
    wait_for(shopper, "offered")
    assert products(shopper) == first
    again = shopper.get_by_role("button", name="Show the better order")
    expect(again).to_be_focused()
    shopper.keyboard.press("Enter")
    wait_for(shopper, "shown")
    assert products(shopper) == order()
    expect(shopper.get_by_role("button", name="Undo")).to_be_focused()


def test_what_show_more_brought_stays_behind_what_was_reordered(shopper, first):
    shopper.get_by_role("link", name="Show more").click()
    expect(cells(shopper)).to_have_count(16)
    later = products(shopper)[8:]
    assert reranking.answer_next()
    shopper.get_by_role("button", name="Show the better order").click()  # the focus was on the ninth card
    wait_for(shopper, "shown")
    assert products(shopper) == order() + later
    shopper.get_by_role("button", name="Undo").click()
    wait_for(shopper, "offered")
    assert products(shopper) == first + later


@pytest.mark.parametrize("hold", ["hover", "focus"])
def test_nothing_moves_under_the_pointer_or_the_focus_until_the_shopper_says_so(shopper, first, hold):
    getattr(shopper.locator(".shopsearch-card__link").nth(2), hold)()
    assert reranking.answer_next()
    wait_for(shopper, "offered")
    assert products(shopper) == first
    expect(shopper.get_by_role("status").first).to_have_text("A better order is ready, above the results.")
    shopper.get_by_role("button", name="Show the better order").click()
    wait_for(shopper, "shown")
    assert products(shopper) == order()


def test_an_order_that_is_retrievals_own_changes_nothing_and_says_nothing(shopper, first):
    own = [each["product"] for each in Rerank.objects.get().candidates]
    Rerank.objects.update(state=Rerank.State.DONE, order=own, reason="it is the best.", finished_at=Now())
    wait_for(shopper, "kept")
    assert products(shopper) == first
    expect(line(shopper)).not_to_be_visible()


def test_products_that_the_page_does_not_show_are_passed_over(shopper, first):
    Rerank.objects.update(state=Rerank.State.DONE, order=["gone", first[3], 999_999], finished_at=Now())
    wait_for(shopper, "shown")
    assert products(shopper) == [first[3], *(each for each in first if each != first[3])]


@pytest.mark.parametrize("cause", ["failed", "expired"])
def test_a_rerank_that_comes_to_nothing_leaves_the_page_as_it_was_and_is_asked_for_no_more(
    shopper, clock, first, polls, cause, monkeypatch
):
    if cause == "failed":
        monkeypatch.setattr(LastFirst, "is_broken", True)
        assert reranking.answer_next()
    else:
        Rerank.objects.update(deadline_at=Now() - timedelta(seconds=1))
    wait_for(shopper, "kept")
    assert Rerank.objects.get().state == cause
    asked = len(polls)
    clock.run_for(120_000)
    assert len(polls) == asked
    assert products(shopper) == first
    expect(line(shopper)).not_to_be_visible()
    expect(shopper.get_by_role("alert")).to_have_count(0)


def test_a_rerank_that_nobody_answers_is_asked_for_until_its_deadline_and_not_longer(
    shopper, clock, live_server, polls
):
    with shopper.expect_response(RERANKS):
        shopper.goto(f"{live_server.url}/search/?q=red")
    clock.fast_forward(62_000)
    wait_for(shopper, "kept")
    asked = len(polls)
    clock.run_for(120_000)
    assert len(polls) == asked


def test_a_server_that_is_in_trouble_is_left_alone(shopper, live_server, polls):
    shopper.route(RERANKS, lambda route: route.fulfill(status=502, body="Bad gateway"))
    shopper.goto(f"{live_server.url}/search/?q=red")
    wait_for(shopper, "kept")
    assert len(polls) == 1
    expect(shopper.get_by_role("alert")).to_have_count(0)


def test_another_search_ends_the_asking_and_going_back_begins_it_anew(shopper, first, polls):
    box = shopper.get_by_role("search").first.get_by_role("combobox", name="Search by words")
    box.fill("blue")
    red = polls[0]
    with shopper.expect_response(
        lambda response: RERANKS.search(response.url) and response.url != red
    ) as found:
        box.press("Enter")
    blue = found.value.url
    expect(shopper).to_have_url(
        re.compile("q=blue")
    )  # they are shown, having waited a moment for their better order
    expect(shopper.locator("[data-shopsearch-found]")).to_have_attribute(
        "data-shopsearch-title", re.compile("blue")
    )
    del polls[:]
    with shopper.expect_request(blue) as asked:
        pass
    asked.value.response()
    assert set(polls) == {blue}
    with shopper.expect_response(lambda response: RERANKS.search(response.url) and response.url != blue):
        shopper.go_back()
    assert reranking.answer_next()
    wait_for(shopper, "shown")
    assert products(shopper) != first


def test_a_search_by_the_script_brings_the_ranks_address_with_its_results(shopper, first):
    searches = []
    shopper.on("request", lambda request: searches.append(request.url) if "/search/" in request.url else None)
    box = shopper.get_by_role("search").first.get_by_role("combobox", name="Search by words")
    box.fill("blue")
    with shopper.expect_response(RERANKS):
        box.press("Enter")
    assert len(searches) == 1


def test_a_hidden_page_asks_for_nothing_until_it_is_seen_again(shopper, clock, first, polls):
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    shopper.evaluate(hide, True)
    clock.run_for(5_000)  # what was on its way has arrived
    asked = len(polls)
    clock.run_for(60_000)
    assert len(polls) == asked
    with shopper.expect_response(RERANKS):
        shopper.evaluate(hide, False)


def test_the_cards_glide(shopper, first):
    shopper.evaluate(COUNT_GLIDES)
    assert reranking.answer_next()
    wait_for(shopper, "shown")
    assert shopper.evaluate("window.glides") > 0


def test_a_shopper_who_asked_for_less_motion_is_offered_the_better_order_and_sees_nothing_move(
    shopper, first
):
    shopper.emulate_media(reduced_motion="reduce")
    shopper.evaluate(COUNT_GLIDES)
    assert reranking.answer_next()
    wait_for(shopper, "offered")
    assert products(shopper) == first
    shopper.get_by_role("button", name="Show the better order").click()
    assert products(shopper) == order()
    assert shopper.evaluate("window.glides") == 0


def test_an_order_that_is_known_is_on_the_page_from_the_start_and_can_be_undone(shopper, first, live_server):
    assert reranking.answer_next()
    wait_for(shopper, "shown")
    searches = []
    shopper.on("request", lambda request: searches.append(request.url) if "/search/" in request.url else None)
    page = shopper.request.get(
        f"{live_server.url}/search/?q=red", headers={"Sec-Fetch-Dest": "document"}
    ).text()
    assert re.findall('data-product-id="([^"]+)"', page) == order()
    shopper.reload()
    wait_for(shopper, "shown")
    expect(line(shopper)).to_contain_text("The first one: it has waited longest.")
    assert products(shopper) == order()
    assert shopper.evaluate(SHIFTS) < 0.02
    shopper.get_by_role("button", name="Undo").click()
    assert products(shopper) == first
    assert len(searches) == 1


def test_a_page_that_is_opened_by_its_address_is_searched_once(shopper, live_server):
    searches = []
    shopper.on("request", lambda request: searches.append(request.url) if "/search/" in request.url else None)
    with shopper.expect_response(RERANKS):
        shopper.goto(f"{live_server.url}/search/?q=red")
    assert len(searches) == 1


class TestWithoutJavaScript:
    @pytest.fixture
    def browser_context_args(self, browser_context_args):
        return {**browser_context_args, "java_script_enabled": False}

    def test_there_is_no_word_of_an_order_that_is_not_there_yet(self, shopper, live_server):
        shopper.goto(f"{live_server.url}/search/?q=red")
        expect(cells(shopper)).to_have_count(8)
        expect(line(shopper)).not_to_be_visible()
