"""Back, Forward, reload and the way back from a product: address, box, title and results always agree."""

import random
import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import upload
from tests.browser.test_widget import DIALOG, cards, choose, first_title, header

SEEN = """() => {
    const region = document.querySelector("[data-shopsearch-results]");
    return {
        q: new URL(location.href).searchParams.get("q") ?? "",
        address: location.pathname + location.search,
        box: document.querySelector("form[data-shopsearch] [name=q]").value,
        title: document.title,
        heading: region?.querySelector("h1")?.textContent.trim() ?? "",
        cards: region ? region.querySelectorAll("[data-product-id]").length : 0,
        first: region?.querySelector("[data-product-id]")?.dataset.productId ?? "",
        isBusy: Boolean(document.querySelector("[aria-busy=true]")),
        scroll: window.scrollY,
    };
}"""


@pytest.fixture
def held(shopper):
    """Searches by the script wait until the test says go."""
    gate = Gate(shopper)
    yield gate
    gate.open()


class Gate:
    """Holds back what the script asks the server for."""

    def __init__(self, page):
        self.page = page
        self.waiting = []
        page.route("**/search/**", self._hold)

    def _hold(self, route):
        if "x-shopsearch-fragment" in route.request.headers:
            self.waiting.append(route)
        else:
            route.continue_()

    def wait_for_one(self):
        for _ in range(300):
            if self.waiting:
                return
            self.page.wait_for_timeout(20)
        raise AssertionError("nothing was asked for")

    def open(self):
        self.page.unroute("**/search/**")
        for route in self.waiting:
            try:
                route.continue_()
            except Exception:  # the page gave it up
                continue


def search(page, words):
    box = header(page).get_by_role("combobox", name="Search by words")
    box.fill(words)
    box.press("Enter")


def expect_search(page, words, *, cards_shown=8):
    expect(page.get_by_role("heading", level=1)).to_have_text(f"“{words}”")
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    expect(page).to_have_title(f"“{words}” – Search")
    seen = page.evaluate(SEEN)
    assert (seen["q"], seen["box"], seen["cards"]) == (words, words, cards_shown)


def test_back_after_a_reload_shows_the_search_of_the_address(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    search(shopper, "blue")
    expect_search(shopper, "blue")
    shopper.reload()
    expect_search(shopper, "blue")
    shopper.go_back()
    expect_search(shopper, "red")
    expect(first_title(shopper)).to_contain_text("red")
    shopper.go_forward()
    expect_search(shopper, "blue")


def test_back_while_a_search_loads_leaves_the_page_that_is_shown(shopper, live_server, held):
    shopper.goto(f"{live_server.url}/search/?q=green")
    held.open()
    search(shopper, "red")
    expect_search(shopper, "red")
    gate = Gate(shopper)
    search(shopper, "blue")
    gate.wait_for_one()
    shopper.go_back()
    expect_search(shopper, "green")
    gate.open()
    expect_search(shopper, "green")
    shopper.go_forward()
    expect_search(shopper, "red")


def test_back_while_further_results_load_shows_no_skeleton_later(shopper, live_server, held):
    shopper.goto(f"{live_server.url}/search/?q=green")
    held.open()
    search(shopper, "red")
    expect_search(shopper, "red")
    gate = Gate(shopper)
    shopper.get_by_role("link", name="Show more").click()
    gate.wait_for_one()
    shopper.go_back()
    expect_search(shopper, "green")
    gate.open()
    shopper.go_forward()
    expect_search(shopper, "red")
    expect(shopper.locator(".shopsearch-grid .shopsearch-skeleton")).to_have_count(0)


@pytest.mark.parametrize("cache", ["kept", "thrown away"])
def test_show_more_then_a_product_then_back_keeps_the_cards_and_the_place(shopper, live_server, cache):
    shopper.set_viewport_size({"width": 390, "height": 700})
    shopper.goto(f"{live_server.url}/search/?q=red")
    shopper.get_by_role("link", name="Show more").click()
    expect(cards(shopper)).to_have_count(16)
    if cache == "thrown away":  # an unload handler keeps any browser from the back/forward cache
        shopper.evaluate("addEventListener('unload', () => {})")
    last = shopper.locator(".shopsearch-card__link").nth(14)
    last.scroll_into_view_if_needed()
    place = shopper.evaluate("scrollY")
    assert place > 500
    last.click()
    expect(shopper.get_by_role("heading")).to_contain_text("Product")
    shopper.go_back()
    expect(cards(shopper)).to_have_count(16)
    expect_search(shopper, "red", cards_shown=16)
    shopper.wait_for_function("(place) => Math.abs(scrollY - place) < 2", arg=place)


def test_a_reload_keeps_as_many_cards_and_the_place(shopper, live_server):
    shopper.set_viewport_size({"width": 390, "height": 700})
    shopper.goto(f"{live_server.url}/search/?q=red")
    shopper.get_by_role("link", name="Show more").click()
    expect(cards(shopper)).to_have_count(16)
    shopper.evaluate("scrollTo(0, 2000)")
    place = shopper.evaluate("scrollY")
    shopper.reload()
    expect(cards(shopper)).to_have_count(16)
    shopper.wait_for_function("(place) => Math.abs(scrollY - place) < 2", arg=place)


def test_words_that_are_typed_while_a_search_loads_are_not_overwritten(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=green")
    gate = Gate(shopper)
    search(shopper, "red")
    gate.wait_for_one()
    box = header(shopper).get_by_role("combobox", name="Search by words")
    box.fill("blue thing")
    gate.open()
    expect(shopper.get_by_role("heading", level=1)).to_have_text("“red”")
    expect(box).to_have_value("blue thing")


@pytest.mark.parametrize("way", ["Escape", "button"])
def test_a_search_can_be_cancelled_and_the_page_stays_as_it_was(shopper, live_server, way):
    shopper.goto(f"{live_server.url}/search/?q=green")
    gate = Gate(shopper)
    search(shopper, "red")
    gate.wait_for_one()
    if way == "Escape":
        shopper.keyboard.press("Escape")
    else:
        header(shopper).get_by_role("button", name="Cancel the search").click()
    expect(shopper.locator("[aria-busy=true]")).to_have_count(0)
    gate.open()
    expect(header(shopper).get_by_role("combobox", name="Search by words")).to_have_value(
        "red"
    )  # the shopper's own words
    expect(shopper.get_by_role("heading", level=1)).to_have_text("“green”")
    expect(shopper).to_have_url(re.compile("q=green$"))
    expect(header(shopper).get_by_role("button", name="Clear the search")).to_be_visible()
    expect(shopper.get_by_role("alert")).to_have_count(0)


def test_a_title_keeps_the_words_of_the_shop(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=green")
    search(shopper, "red")
    expect(shopper).to_have_title("“red” – Search")
    shopper.reload()
    expect(shopper).to_have_title("“red” – Search")


@pytest.mark.parametrize("ending", ["cleared", "replaced"])
def test_a_picture_that_is_cleared_or_replaced_while_it_is_read_does_not_return(shopper, live_server, ending):
    shopper.goto(f"{live_server.url}/search/?q=green")
    shopper.evaluate(
        """() => {
            const read = window.createImageBitmap.bind(window);
            let first = true;
            window.createImageBitmap = async (...what) => {
                if (first) { first = false; await new Promise((resolve) => { window.go = resolve; }); }
                return read(...what);
            };
        }"""
    )
    choose(shopper, "blue")
    shopper.wait_for_function("() => Boolean(window.go)")
    if ending == "cleared":
        header(shopper).get_by_role("button", name="Clear the search").click()
    else:
        header(shopper).locator(DIALOG).set_input_files(upload("red", "other.png"))
        expect(first_title(shopper)).to_contain_text("red")
    shopper.evaluate("() => window.go()")
    shopper.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")
    if ending == "cleared":
        expect(shopper.get_by_role("img", name="Your picture")).to_have_count(0)
        expect(shopper).to_have_url(re.compile("q=green$"))
    else:
        expect(first_title(shopper)).to_contain_text("red")


def test_another_tab_that_is_opened_from_a_search_by_picture_has_the_picture(shopper, live_server):
    choose(shopper, "blue")
    expect(first_title(shopper)).to_contain_text("blue")
    other = shopper.context.new_page()
    other.goto(shopper.url)
    expect(first_title(other)).to_contain_text("blue")
    expect(other.get_by_role("img", name="Your picture")).to_be_visible()
    other.close()


def test_a_fragment_of_the_page_is_no_other_search(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=green")
    search(shopper, "red")
    expect_search(shopper, "red")
    shopper.evaluate("location.hash = 'shopsearch-list'")
    shopper.go_back()
    expect_search(shopper, "red")
    shopper.go_back()
    expect_search(shopper, "green")


def test_an_address_that_fails_on_the_way_back_does_not_show_the_page_before(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=green")
    search(shopper, "red")
    expect_search(shopper, "red")
    shopper.reload()
    expect_search(shopper, "red")
    shopper.evaluate("sessionStorage.clear()")
    shopper.route("**/search/**", lambda route: route.fulfill(status=502, body="Bad gateway"))
    with shopper.expect_console_message(lambda message: "502" in message.text):
        shopper.go_back()
    expect(shopper.get_by_role("alert").filter(has_text="cannot be reached")).to_be_visible()
    expect(cards(shopper)).to_have_count(0)
    expect(header(shopper).get_by_role("combobox", name="Search by words")).to_have_value("green")
    shopper.unroute("**/search/**")
    shopper.get_by_role("button", name="Try again").click()
    expect_search(shopper, "green")


def test_further_results_that_fail_are_said_beside_the_button_which_works_again(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    refusal = {"status": 503, "headers": {"Retry-After": "1"}, "body": "Away"}
    shopper.route("**/search/**", lambda route: route.fulfill(**refusal))
    with shopper.expect_console_message(lambda message: "503" in message.text):
        shopper.get_by_role("link", name="Show more").click()
    trouble = shopper.locator(".shopsearch-more + .shopsearch-trouble")
    expect(trouble).to_contain_text("cannot be reached")
    shopper.unroute("**/search/**")
    again = trouble.get_by_role("button", name="Try again")
    expect(again).to_have_text("Try again")  # it counts the second down
    again.click()
    expect(cards(shopper)).to_have_count(16)
    expect(shopper.locator(".shopsearch-trouble")).to_have_count(0)


def test_an_order_that_fails_is_taken_back_and_said(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    shopper.context.set_offline(True)
    with shopper.expect_console_message(lambda message: "ERR_INTERNET" in message.text):
        shopper.get_by_role("combobox", name="Sort by").select_option("price")
    expect(shopper.locator(".shopsearch-trouble")).to_contain_text("You are offline")
    expect(shopper.get_by_role("combobox", name="Sort by")).to_have_value("")
    shopper.context.set_offline(False)
    shopper.get_by_role("button", name="Try again").click()
    expect(shopper).to_have_url(re.compile("sort=price"))


class Walk:
    """A shopper at random; after each step address, box, title and results belong to one search."""

    WORDS = ("red", "blue", "green", "thing 7", "thing 12")

    def __init__(self, page, address, seed):
        self.page, self.address = page, address
        self.chance = random.Random(seed)
        self.taken = []
        self.firsts = {}

    def step(self):
        name = self.chance.choice(["search", "refine", "more", "open", "back", "back", "forward", "reload"])
        self.taken.append(name)
        getattr(self, name)()
        self.settle()
        self.check()

    def settle(self):
        self.page.wait_for_load_state("load")
        expect(self.page.locator("[aria-busy=true]")).to_have_count(0)

    def check(self):
        if "/search/" not in self.page.url:
            return
        seen = self.page.evaluate(SEEN)
        told = f"{self.taken}: {seen}"
        assert seen["box"] == seen["q"], told
        assert seen["heading"] == f"“{seen['q']}”", told
        assert seen["title"] == f"“{seen['q']}” – Search", told
        assert seen["cards"] > 0, told
        assert self.firsts.setdefault(seen["address"], seen["first"]) == seen["first"], told

    def search(self):
        if "/products/" in self.page.url:
            self.page.goto(f"{self.address}/search/?q={self.chance.choice(('red', 'blue'))}")
            return
        words = self.chance.choice(self.WORDS)
        search(self.page, words)
        expect(self.page.get_by_role("heading", level=1)).to_have_text(f"“{words}”")

    def refine(self):
        box = self.page.get_by_role("checkbox", name="In stock")
        if box.count():
            was = self.page.url
            box.click()
            self.page.wait_for_function("(was) => location.href !== was", arg=was)

    def more(self):
        link = self.page.get_by_role("link", name="Show more")
        if link.count():
            count = cards(self.page).count()
            link.click()
            expect(cards(self.page)).not_to_have_count(count)

    def open(self):
        links = self.page.locator(".shopsearch-card__link")
        if count := links.count():
            links.nth(self.chance.randrange(count)).click()
            self.page.wait_for_url("**/products/**")

    def back(self):
        if len(self.taken) > 1:
            self.page.go_back()
            if not self.page.url.startswith(self.address + "/search") and "/products/" not in self.page.url:
                self.page.go_forward()

    def forward(self):
        self.page.go_forward()

    def reload(self):
        self.page.reload()


def walk(page, live_server, seed, steps=10):
    page.goto(f"{live_server.url}/search/?q=red")
    one = Walk(page, live_server.url, seed)
    one.settle()
    for _ in range(steps):
        one.step()


@pytest.mark.parametrize("seed", range(2))
def test_five_walks_at_random_never_lose_the_agreement(shopper, live_server, seed):
    for each in range(5):
        walk(shopper, live_server, 100 * seed + each)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))
def test_ten_walks_more_of_each_night(shopper, live_server, seed):
    for each in range(10):
        walk(shopper, live_server, 10_000 + 100 * seed + each)
