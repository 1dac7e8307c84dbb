"""The widget in a real browser, as shoppers use it: with mouse, keyboard, drop, paste, and without JavaScript."""

import base64
import io
import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import png, upload

DIALOG = "input[type=file]:not([capture])"


def header(page):
    return page.get_by_role("search").first


def cards(page):
    return page.locator(".shopsearch-card")


def first_title(page):
    return page.locator(".shopsearch-card__link").first


def choose(page, colour):
    header(page).locator(DIALOG).set_input_files(upload(colour))


def dispatch(page, kind, event, target="body"):
    """What a drop or a paste of a red picture is to a page."""
    page.evaluate(
        """([kind, event, target, data]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], "leopard.png", { type: "image/png" }));
            const options = { bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer };
            document.querySelector(target).dispatchEvent(new window[kind](event, options));
        }""",
        [kind, event, target, base64.b64encode(png("red")).decode()],
    )


def test_words_typed_and_entered_lead_to_an_address_with_results(shopper):
    box = header(shopper).get_by_role("combobox", name="Search by words")
    box.fill("red")
    box.press("Enter")
    expect(shopper).to_have_url(re.compile(r"/search/\?q=red$"))
    expect(cards(shopper)).to_have_count(8)
    expect(first_title(shopper)).to_contain_text("red")
    expect(header(shopper).get_by_role("combobox", name="Search by words")).to_have_value("red")


def test_the_pages_come_under_the_policy_that_these_tests_are_about(shopper, live_server):
    response = shopper.goto(f"{live_server.url}/search/?q=red")
    assert "style-src 'self'" in response.headers["content-security-policy"]


def test_a_chosen_picture_searches_at_once_and_shows_in_the_box(shopper):
    choose(shopper, "blue")
    expect(first_title(shopper)).to_contain_text("blue")
    expect(header(shopper).get_by_role("img", name="Your picture")).to_be_visible()
    expect(shopper.get_by_role("status").first).to_have_text("More than 8 results: Like your picture")


def test_the_preview_shows_the_picture_itself(shopper):
    choose(shopper, "blue")
    canvas = header(shopper).get_by_role("img", name="Your picture")
    expect(canvas).to_be_visible()
    middle = canvas.evaluate("(canvas) => [...canvas.getContext('2d').getImageData(48, 48, 1, 1).data]")
    assert middle == [40, 60, 210, 255]


def test_a_picture_may_be_dropped_anywhere_on_the_page_which_shows_that_it_may(shopper):
    dispatch(shopper, "DragEvent", "dragover", "h1")
    expect(shopper.locator("[data-shopsearch-dropping]")).to_have_count(1)
    dispatch(shopper, "DragEvent", "drop", "h1")
    expect(shopper.locator("[data-shopsearch-dropping]")).to_have_count(0)
    expect(first_title(shopper)).to_contain_text("red")


def test_a_picture_may_be_pasted(shopper):
    dispatch(shopper, "ClipboardEvent", "paste")
    expect(first_title(shopper)).to_contain_text("red")


def test_an_example_picture_is_one_click(shopper):
    shopper.get_by_role("link", name="Green, say").click()
    expect(first_title(shopper)).to_contain_text("green")
    expect(header(shopper).get_by_role("img", name="Your picture")).to_be_visible()


def test_words_added_to_a_picture_make_one_query_of_both(shopper):
    choose(shopper, "blue")
    expect(cards(shopper)).to_have_count(8)
    box = header(shopper).get_by_role("combobox", name="Search by words")
    box.fill("thing in red")
    box.press("Enter")
    expect(shopper.get_by_role("heading", level=1)).to_have_text("“thing in red” with your picture")


def test_a_removed_picture_leaves_the_words(shopper):
    header(shopper).get_by_role("combobox", name="Search by words").fill("red")
    choose(shopper, "blue")
    expect(shopper.get_by_role("heading", level=1)).to_have_text("“red” with your picture")
    header(shopper).get_by_role("button", name="Remove the picture").click()
    expect(shopper.get_by_role("heading", level=1)).to_have_text("“red”")
    expect(shopper.get_by_role("img", name="Your picture")).to_have_count(0)


def test_clearing_empties_the_box(shopper):
    header(shopper).get_by_role("combobox", name="Search by words").fill("red")
    choose(shopper, "blue")
    expect(cards(shopper)).to_have_count(8)
    header(shopper).get_by_role("button", name="Clear the search").click()
    expect(header(shopper).get_by_role("combobox", name="Search by words")).to_have_value("")
    expect(header(shopper).get_by_role("combobox", name="Search by words")).to_be_focused()
    expect(shopper.get_by_role("img", name="Your picture")).to_have_count(0)


def test_a_chosen_filter_keeps_the_picture_and_so_does_show_more(shopper):
    choose(shopper, "blue")
    shopper.get_by_role("checkbox", name="In stock").check()
    expect(shopper).to_have_url(re.compile("in_stock=true"))
    expect(cards(shopper)).to_have_count(8)
    expect(shopper.get_by_role("checkbox", name="In stock")).to_be_focused()
    shopper.get_by_role("link", name="Show more").click()
    expect(cards(shopper)).to_have_count(13)
    expect(shopper.locator(".shopsearch-card__link").nth(8)).to_be_focused()
    expect(shopper.get_by_role("status").first).to_have_text("5 more results: Like your picture")
    expect(shopper.get_by_role("link", name="Show more")).to_have_count(0)
    titles = shopper.locator(".shopsearch-card__link").all_text_contents()
    assert len(set(titles)) == 13


def test_going_back_shows_what_was_there_with_its_picture(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    choose(shopper, "blue")
    expect(shopper.get_by_role("heading", level=1)).to_have_text("“red” with your picture")
    shopper.go_back()
    expect(shopper.get_by_role("heading", level=1)).to_have_text("“red”")
    expect(shopper.get_by_role("img", name="Your picture")).to_have_count(0)
    shopper.go_forward()
    expect(shopper.get_by_role("heading", level=1)).to_have_text("“red” with your picture")
    expect(shopper.get_by_role("img", name="Your picture")).to_have_count(1)


def test_a_search_by_picture_outlives_a_reload_and_a_visit_to_a_product(shopper):
    choose(shopper, "blue")
    expect(first_title(shopper)).to_contain_text("blue")
    shopper.reload()
    expect(first_title(shopper)).to_contain_text("blue")
    first_title(shopper).click()
    expect(shopper.get_by_role("heading")).to_contain_text("Product")
    shopper.go_back()
    expect(first_title(shopper)).to_contain_text("blue")
    expect(header(shopper).get_by_role("img", name="Your picture")).to_be_visible()


def test_the_address_of_a_search_by_picture_says_in_another_browser_that_the_picture_is_missing(
    shopper, live_server
):
    shopper.goto(f"{live_server.url}/search/?q=red&picture=1700000000000")
    expect(shopper.get_by_text("This search needs its picture again")).to_be_visible()
    shopper.get_by_role("link", name="Search for “red” alone").click()
    expect(first_title(shopper)).to_contain_text("red")


def test_a_picture_of_the_shop_can_be_searched_with(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    first_title(shopper).hover()
    shopper.get_by_role("link", name="More like red").first.click()
    expect(shopper.get_by_role("heading", level=1)).to_contain_text("“red”, like red thing")
    box = header(shopper).get_by_role("combobox", name="Search by words")
    box.fill("blue")
    box.press("Enter")
    expect(shopper.get_by_role("heading", level=1)).to_contain_text("“blue”, like red thing")


def test_a_large_photo_is_made_smaller_before_it_is_sent(shopper, live_server):
    content = io.BytesIO()
    Image.effect_noise((1800, 1200), 60).save(content, "PNG")
    photo = {"name": "photo.png", "mimeType": "image/png", "buffer": content.getvalue()}
    shopper.goto(f"{live_server.url}/search/?q=red")
    with shopper.expect_request(lambda request: request.method == "POST") as sent:
        header(shopper).locator(DIALOG).set_input_files(photo)
    assert int(sent.value.all_headers()["content-length"]) < len(photo["buffer"]) / 2
    expect(shopper.get_by_role("heading", level=1)).to_have_text("“red” with your picture")


def test_a_file_that_is_no_picture_is_named_in_a_sentence_and_what_was_found_stays(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    note = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"milk, bread"}
    header(shopper).locator(DIALOG).set_input_files(note)
    expect(shopper.get_by_role("alert")).to_contain_text("That is not a picture")
    broken = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"milk, bread"}
    header(shopper).locator(DIALOG).set_input_files(broken)
    expect(shopper.get_by_role("alert")).to_contain_text("not a picture that can be read")
    expect(cards(shopper)).to_have_count(8)
    expect(shopper.get_by_role("img", name="Your picture")).to_have_count(0)


def test_a_shop_that_cannot_be_reached_is_a_sentence(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    shopper.route("**/search/**", lambda route: route.fulfill(status=502, body="Bad gateway"))
    box = header(shopper).get_by_role("combobox", name="Search by words")
    box.fill("blue")
    with shopper.expect_console_message(lambda message: "502" in message.text):
        box.press("Enter")
    expect(shopper.get_by_role("alert")).to_contain_text("cannot be reached")


def test_everything_is_within_reach_of_the_keyboard(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    reached = []
    for _ in range(20):
        shopper.keyboard.press("Tab")
        reached.append(
            shopper.evaluate(
                """() => {
                    const { labels, ariaLabel, textContent } = document.activeElement;
                    return ariaLabel || (labels?.[0]?.textContent ?? textContent).trim();
                }"""
            )
        )
    assert reached[:7] == [
        "Search by words",
        "Clear the search",
        "Search with a picture, up to 10 MB",
        "Search",
        "Skip to the results",
        "Price, at least",
        "Price, at most",
    ]
    rest = [name for name in reached[8:] if not name.endswith("products")]  # the ranges of the price
    assert [each.split()[0] for each in rest[:2]] == ["In", "Sort"]
    assert rest[2].startswith("red thing")
    assert rest[3:5] == [f"More like {rest[2]}", f"Less like {rest[2]}"]
    shopper.get_by_role("link", name="Skip to the results").focus()
    shopper.keyboard.press("Enter")
    expect(first_title(shopper)).to_be_focused()


def test_the_keyboard_alone_opens_the_dialog_and_removes_the_picture(shopper):
    file_input = header(shopper).locator(DIALOG)
    file_input.focus()
    with shopper.expect_file_chooser() as dialog:
        shopper.keyboard.press("Enter")
    dialog.value.set_files(upload("blue"))
    remove = header(shopper).get_by_role("button", name="Remove the picture")
    expect(cards(shopper)).to_have_count(8)
    remove.focus()
    shopper.keyboard.press("Enter")
    expect(remove).to_have_count(0)
    expect(header(shopper).get_by_role("combobox", name="Search by words")).to_be_focused()


def test_of_two_boxes_on_a_page_the_one_that_was_used_speaks(shopper):
    shopper.get_by_role("search").nth(1).locator(DIALOG).set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"milk"}
    )
    alerts = shopper.locator("[data-shopsearch-message]")
    expect(alerts.nth(1)).to_contain_text("That is not a picture")
    expect(alerts.nth(0)).to_be_empty()


class TestWithoutJavaScript:
    @pytest.fixture
    def browser_context_args(self, browser_context_args):
        return {**browser_context_args, "java_script_enabled": False}

    def test_words_are_found_under_an_address(self, shopper):
        box = header(shopper).get_by_role("searchbox")
        box.fill("blue")
        box.press("Enter")
        expect(shopper).to_have_url(re.compile(r"/search/\?q=blue$"))
        expect(first_title(shopper)).to_contain_text("blue")
        shopper.get_by_role("link", name="Show more").click()
        expect(shopper).to_have_url(re.compile("offset=8"))
        expect(cards(shopper)).to_have_count(8)

    def test_a_picture_is_found_by_the_plain_form(self, shopper):
        choose(shopper, "red")
        header(shopper).get_by_role("button", name="Search", exact=True).click()
        expect(first_title(shopper)).to_contain_text("red")
        expect(cards(shopper)).to_have_count(20)

    def test_filters_are_a_plain_form(self, shopper, live_server):
        shopper.goto(f"{live_server.url}/search/?q=red")
        shopper.get_by_role("spinbutton", name="Price, at most").fill("5")
        shopper.get_by_role("button", name="Apply").click()
        expect(cards(shopper)).to_have_count(6)


def test_a_shopper_steers_by_pointing_at_cards_and_takes_it_back(shopper, live_server):
    shopper.goto(f"{live_server.url}/search/?q=red")
    shopper.get_by_role("link", name="Less like red").first.focus()
    shopper.keyboard.press("Enter")
    expect(shopper).to_have_url(re.compile(r"q=red&dissimilar=\d+$"))
    examples = shopper.get_by_role("list", name="Examples").get_by_role("link")
    expect(examples).to_have_count(1)
    expect(shopper.get_by_role("status").first).to_contain_text("unlike red thing")
    shopper.get_by_role("link", name="More like").first.click()
    expect(examples).to_have_count(2)
    header(shopper).get_by_role("combobox").press("Enter")  # the box has them too
    expect(shopper).to_have_url(re.compile(r"\?dissimilar=\d+&similar=\d+&q=red$"))
    examples.last.click()
    expect(examples).to_have_count(1)
    shopper.go_back()
    expect(examples).to_have_count(2)
    header(shopper).locator("a[data-shopsearch-remove]").click()
    expect(shopper).to_have_url(re.compile(r"\?dissimilar=\d+&q=red$|\?q=red&dissimilar=\d+$"))


def half_red_half_blue():
    picture, content = Image.new("RGB", (200, 100), (220, 30, 30)), io.BytesIO()
    picture.paste((40, 60, 210), (120, 0, 200, 100))
    picture.save(content, "PNG")
    return {"name": "both.png", "mimeType": "image/png", "buffer": content.getvalue()}


def test_a_part_of_the_picture_is_chosen_by_dragging_and_by_keys(shopper):
    header(shopper).locator(DIALOG).set_input_files(half_red_half_blue())
    expect(first_title(shopper)).to_contain_text("blue")
    shopper.get_by_role("button", name="Only a part of it").click()
    frame = shopper.get_by_role("button", name="The part to search with")
    expect(frame).to_be_focused()
    stage = shopper.locator("[data-shopsearch-stage]").bounding_box()
    shopper.mouse.move(stage["x"] + stage["width"] * 0.1, stage["y"] + stage["height"] * 0.05)
    shopper.mouse.down()
    shopper.mouse.move(stage["x"] + stage["width"] * 0.36, stage["y"] + stage["height"] * 0.5, steps=3)
    shopper.mouse.up()
    expect(shopper.get_by_role("spinbutton", name="Left")).to_have_value("10")
    expect(shopper.get_by_role("spinbutton", name="Width")).to_have_value("26")
    for key in ("ArrowRight", "Shift+ArrowUp"):
        frame.press(key)
    expect(shopper.get_by_role("spinbutton", name="Left")).to_have_value("12")
    expect(shopper.get_by_role("spinbutton", name="Height")).to_have_value("43")
    shopper.get_by_role("link", name="Search with this part").click()
    expect(first_title(shopper)).to_contain_text("red")
    expect(shopper).to_have_url(re.compile(r"picture=\d+&box=0\.12"))
    shopper.get_by_role("button", name="Another part of it").click()
    shopper.get_by_role("link", name="All of it").click()
    expect(first_title(shopper)).to_contain_text("blue")
    expect(shopper).to_have_url(re.compile(r"picture=\d+$"))
    shopper.goto("about:blank")
    shopper.go_back()
    shopper.get_by_role("button", name="Only a part of it").click()
    expect(frame).to_be_focused()
