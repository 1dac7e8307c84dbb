"""Judging in a real browser: by the keyboard alone, and without JavaScript."""

import re

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from shopsearch.models import EvaluationQuery
from tests.shop.models import Product


@pytest.fixture
def queries(shop, settings):
    settings.ROOT_URLCONF = "tests.urls"
    texts = {"red thing": 9, "blue thing": 1}
    return [
        EvaluationQuery.objects.create(index="shopsearch_productimage", text=text, times_asked=times)
        for text, times in texts.items()
    ]


@pytest.fixture
def judging(queries, admin_client, live_server):
    """The address of a query's page, and the cookie of one who may judge."""

    def address(query):
        return live_server.url + reverse("admin:shopsearch_evaluationquery_judge", args=[query.pk])

    cookie = {"name": "sessionid", "value": admin_client.cookies["sessionid"].value, "url": live_server.url}
    return address, cookie


def graded(query):
    titles = {str(product.pk): product.title for product in Product.objects.all()}
    return {titles[each.product_id]: each.grade for each in query.judgements.all()}


def test_a_query_is_judged_from_the_keyboard_alone(page, context, queries, judging):
    address, cookie = judging
    context.add_cookies([cookie])
    page.goto(address(queries[0]))
    groups = page.get_by_role("group")
    titles = [text.split(maxsplit=1)[1] for text in page.locator("legend").all_inner_texts()]
    focused = page.locator("fieldset:focus-within legend")
    expect(focused).to_contain_text(titles[0])
    page.keyboard.press("3")
    expect(groups.nth(0).get_by_role("radio", name="3, exactly what was asked")).to_be_checked()
    expect(focused).to_contain_text(titles[1])
    page.keyboard.press("Tab")
    expect(focused).to_contain_text(titles[2])
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(groups.nth(2).get_by_role("radio", name="1, related")).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("0")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Backspace")
    expect(groups.nth(3).get_by_role("radio", name="not judged")).to_be_checked()
    page.keyboard.press("Control+Enter")
    expect(page).to_have_url(address(queries[1]))
    expect(page.get_by_text("2 judgements were saved.")).to_be_visible()
    assert graded(queries[0]) == {titles[0]: 3, titles[2]: 1}


def test_enter_saves_and_stays(page, context, queries, judging):
    address, cookie = judging
    context.add_cookies([cookie])
    page.goto(address(queries[0]))
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape(address(queries[0])) + r"\?results=8$"))
    assert list(graded(queries[0]).values()) == [2]


def test_a_query_is_judged_without_javascript(browser, queries, judging):
    address, cookie = judging
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(address(queries[0]))
    title = page.locator("legend").nth(1).inner_text().split(maxsplit=1)[1]
    page.get_by_role("group").nth(1).get_by_role("radio", name="2, good").check()
    page.get_by_role("button", name="Save and show more results").click()
    expect(page.get_by_role("group")).to_have_count(16)
    expect(page.get_by_role("group").nth(1).get_by_role("radio", name="2, good")).to_be_checked()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert graded(queries[0]) == {title: 2}
    context.close()
