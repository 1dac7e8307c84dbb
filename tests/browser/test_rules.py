"""A search that a rule of the house leads to another page, where the widget's script searches."""

import re

from playwright.sync_api import expect

from shopsearch.models import Rule, RuleAction
from shopsearch.registry import get_index
from shopsearch.search import rules


def test_the_script_follows_a_rules_address_and_back_leads_to_the_search_before(shopper, live_server):
    rule = Rule.objects.create(name="Blue", index=get_index().name, trigger="exact", words="blue")
    RuleAction.objects.create(rule=rule, kind="redirect", address="/products/1/")
    rules.forget()
    shopper.goto(f"{live_server.url}/search/?q=red")
    box = shopper.locator("form[data-shopsearch] [name=q]")
    box.fill("blue")
    box.press("Enter")
    expect(shopper.locator("h1")).to_have_text("Product 1")
    shopper.go_back()
    expect(shopper).to_have_url(re.compile(r"/search/\?q=red$"))
    expect(shopper.locator("h1")).to_contain_text("red")
