"""The search page and rules of the house: a banner above the results, and an address that a search leads to."""

import sys
from types import ModuleType

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path

from shopsearch.models import ProductImage, Rule, RuleAction
from shopsearch.registry import index_for
from shopsearch.search import rules
from tests.shop.pictures import RED, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db
FRAGMENT = {"X-Shopsearch-Fragment": "results"}


@pytest.fixture(autouse=True)
def _shop(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "PAGE_SIZE": 2}
    for number in range(3):
        product(RED, title=f"mug {number}")
    index_everything()


def rule(words, **action):
    index = index_for(ProductImage).name
    made = Rule.objects.create(name=words, index=index, trigger="exact", words=words)
    RuleAction.objects.create(rule=made, **action)
    rules.forget()


def test_a_banner_stands_above_the_first_results_alone_and_is_text(client):
    rule("mug", kind="banner", text="<b>20 %</b> off", address="/sale/")
    page = client.get("/search/?q=mug").content.decode()
    assert '<p class="shopsearch-banner"><a href="/sale/">&lt;b&gt;20 %&lt;/b&gt; off</a></p>' in page
    assert "shopsearch-banner" not in client.get("/search/?q=mug&offset=2").content.decode()
    assert "shopsearch-banner" not in client.get("/search/?q=plate").content.decode()


def test_a_browser_is_led_to_the_address_and_a_script_is_told_it(client):
    rule("returns", kind="redirect", address="/help/returns/")
    response = client.get("/search/?q=returns")
    assert (response.status_code, response["Location"]) == (302, "/help/returns/")
    assert response["Cache-Control"] == "no-store"
    fragment = client.get("/search/?q=returns", headers=FRAGMENT)
    assert fragment.status_code == 200
    assert "data-shopsearch-redirect" in fragment.content.decode()
    assert 'href="/help/returns/"' in fragment.content.decode()


def test_rules_that_lead_from_search_to_search_make_no_circle(client):
    rule("cup", kind="redirect", address="/search/?q=mug&category=tea")
    rule("mug", kind="redirect", address="/search/?q=cup")
    response = client.get("/search/?q=cup")
    assert response["Location"] == "/search/?q=mug&category=tea&followed=1"
    assert client.get(response["Location"]).status_code == 200


def test_nor_do_those_that_lead_to_the_search_without_its_language(client, settings, monkeypatch):
    urls = ModuleType("urls_of_languages")
    urls.urlpatterns = i18n_patterns(path("", include("shopsearch.urls")))
    monkeypatch.setitem(sys.modules, urls.__name__, urls)
    settings.ROOT_URLCONF = urls.__name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    rule("cup", kind="redirect", address="/search/?q=cup")
    addresses = ["/en/search/?q=cup"]
    while (response := client.get(addresses[-1])).status_code == 302 and len(addresses) < 5:
        addresses.append(response["Location"])
    assert addresses[1:] == ["/search/?q=cup&followed=1", "/en/search/?q=cup&followed=1"]


@pytest.mark.parametrize(
    ("address", "location"),
    [
        ("/cafés/?q=東京", "/caf%C3%A9s/?q=%E6%9D%B1%E4%BA%AC"),
        ("/a\r\nSet-Cookie: b", None),
        ("/\t/other.example", None),
    ],
)
def test_an_address_is_written_as_a_header_may_have_it_or_not_at_all(client, address, location):
    rule("mug", kind="redirect", address=address)
    response = client.get("/search/?q=mug")
    assert (response.status_code, response.get("Location")) == (302 if location else 200, location)


def test_no_shopper_is_led_to_another_site(client):
    rule("mug", kind="redirect", address="https://elsewhere.example/")
    assert client.get("/search/?q=mug").status_code == 200
