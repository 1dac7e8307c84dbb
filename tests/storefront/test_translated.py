"""Every word that a shopper reads comes from the shop or from the catalogue of translations."""

import re
from html.parser import HTMLParser

import pytest
from django.core.cache import cache
from django.template.autoreload import reset_loaders
from django.utils import translation

from shopsearch.exceptions import VectorStoreError
from shopsearch.models import ProductImage, Rule, RuleAction
from shopsearch.registry import get_index
from shopsearch.search import rules
from shopsearch.testing import MemoryStore
from tests.search.test_matches import calibrated
from tests.shop.models import Category
from tests.shop.pictures import BLUE, RED, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db

STATES = {
    "nothing asked": "",
    "results": "?q=red",
    "weak": "?q=purple",
    "refined and sorted": "?q=red&price__gte=4&in_stock=true&category=mugs&sort=price",
    "nothing found": "?q=red&price__gte=9999",
    "without its picture": "?q=red&picture=1",
    "a wrong value": "?q=red&price__gte=cheap",
    "an unknown order": "?q=red&sort=taste",
    "too far down": "?q=red&offset=99999",
    "too much text": f"?q={'red ' * 999}",
    "like something": "?q=red&similar={0}&dissimilar={1}",
    "no such product": "?similar=99999",
}
OURS = {
    "red",
    "mug",
    "mugs",
    "purple",
    "mr",
    "zz",
    "price",
    "sort",
    "taste",
    "colour",
    "cheap",
    "offset",
    "limit",
}
"""What the shopper typed, what the shop calls its things, and the names of parameters."""
READ = ("alt", "aria-label", "placeholder", "title", "data-shopsearch-announcement")


class Words(HTMLParser):
    """What is read of a page, aloud or by eye."""

    def __init__(self, html):
        super().__init__()
        self.read, self.unread = [], 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.unread += tag in ("script", "style")
        self.read += [text for name, text in attrs if name in READ and text]

    def handle_endtag(self, tag):
        self.unread -= tag in ("script", "style")

    def handle_data(self, text):
        if not self.unread:
            self.read.append(text)


@pytest.fixture
def _marked(monkeypatch):
    """What is translated stands in brackets."""

    def one(message):
        return f"⟦{message}⟧"

    def one_of(context, message):
        return f"⟦{message}⟧"

    def several(one, more, number):
        return f"⟦{one if number == 1 else more}⟧"

    translation.gettext("")
    monkeypatch.setattr(translation._trans, "gettext", one, raising=False)
    monkeypatch.setattr(translation._trans, "pgettext", one_of, raising=False)
    monkeypatch.setattr(translation._trans, "ngettext", several, raising=False)
    reset_loaders()  # templates keep words that are rendered once for each language
    yield
    reset_loaders()


@pytest.fixture(autouse=True)
def _shop(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None, "PAGE_SIZE": 2}
    cache.clear()
    mugs = Category.objects.create(name="mugs")
    for number in range(5):
        product(RED, BLUE, title="red mug", price=number * 4, category=mugs, in_stock=True)
    index_everything()
    calibrated(0.5)
    rule = Rule.objects.create(name="Sale", index=get_index().name, words="red")
    RuleAction.objects.create(rule=rule, kind="banner", text="mugs")
    rules.forget()


def untranslated(html):
    """The words that are in no brackets and not the shop's."""
    found = [re.sub(r"⟦[^⟦⟧]*⟧", " ", text) for text in Words(html).read]
    while any("⟦" in text for text in found):  # one translation within another
        found = [re.sub(r"⟦[^⟦⟧]*⟧", " ", text) for text in found]
    return {word for text in found for word in re.findall(r"[^\W\d_]{2,}", text.lower())} - OURS


@pytest.mark.usefixtures("_marked")
def test_no_word_of_a_page_is_english_whatever_the_language(client, monkeypatch):
    images = ProductImage.objects.values_list("pk", flat=True)[:2]
    pages = {name: client.get(f"/search/{address.format(*images)}") for name, address in STATES.items()}

    def away(*args, **kwargs):
        raise VectorStoreError("the store is away")

    monkeypatch.setattr(MemoryStore, "search", away)
    pages["search is away"] = client.get("/search/?q=red")
    assert {page.status_code for page in pages.values()} == {200, 400, 503}
    found = {name: untranslated(page.content.decode()) for name, page in pages.items()}
    assert {name: words for name, words in found.items() if words} == {}
