"""Each method of an index that a shop writes raises for one product, in turn, wherever shoppers or staff need it.

Every place answers, the other product is there, and what failed is in the log.
"""

import logging
import re

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from shopsearch.models import IndexEntry, ProductImage, Rerank, Rule, RuleAction
from shopsearch.registry import index_for
from shopsearch.search import reranking, spelling, suggestions
from shopsearch.search.engine import search
from tests.shop.models import Product
from tests.shop.pictures import RED, picture, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db
IMAGES = index_for(ProductImage)
METHODS = [
    "get_product",
    "get_filter_values",
    "get_words",
    "get_identifiers",
    "get_title",
    "get_text",
    "get_url",
    "get_picture_url",
    "describe",
]
HIDING = {"get_product"}
"""Without these nothing can be shown of a product."""


@pytest.fixture
def shop(settings, monkeypatch):
    """Three mugs that look the same, the first one the product that fails; and a rule that pins it."""
    last_first = {"BACKEND": "tests.shop.rerankers.LastFirst"}
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None, "RERANKER": last_first}
    cache.clear()
    for name, value in {"words": ("title",), "identifiers": ("title",), "newest": "pk"}.items():
        monkeypatch.setattr(type(IMAGES), name, value)
    odd, plain, _other = (product(RED, title=f"mug {each}", price=1 + each) for each in range(3))
    index_everything()
    rule = Rule.objects.create(name="both", index=IMAGES.name, trigger="contains", words="mug", is_on=True)
    RuleAction.objects.create(rule=rule, kind="pin", products=str(odd.pk), place=1)
    spelling.forget()
    suggestions.forget()
    return odd, plain


@pytest.fixture
def fail(monkeypatch):
    """From now on the method raises for this product and its images."""

    def fail(method, odd):
        given = getattr(type(IMAGES), method)

        def stumble(index, row, *arguments, **options):
            owner = row if isinstance(row, Product) else row.product
            if owner.pk == odd.pk:
                raise KeyError("supplier")
            return given(index, row, *arguments, **options)

        monkeypatch.setattr(type(IMAGES), method, stumble)

    return fail


def keys(response):
    found = response.json()
    results = [each["product"] for each in found["results"]] if "results" in found else found["products"]
    return {each["id"] for each in results}


def places(client, odd, plain):
    """By name, what a shopper or a member of staff asks for; and the keys of the products that are shown, or None."""
    api, page = "/api/search/", "/search/"
    for name, parameters in {
        "search": {},
        "facets": {"facets": "*"},
        "filter": {"price__gte": 1},
        "by price": {"sort": "price"},
        "by price, down": {"sort": "-price"},
        "newest": {"sort": "newest"},
        "rerank": {"rerank": "true"},
    }.items():
        yield f"api {name}", lambda asked=parameters: keys(client.get(api, {"q": "mug", **asked}))
    yield "api picture", lambda: keys(client.post(api, {"image": picture(RED)}))
    yield "api similar", lambda: keys(client.get(f"/api/products/{plain.pk}/similar/")) | {plain.pk}
    yield "api similar of it", lambda: client.get(f"/api/products/{odd.pk}/similar/").status_code and None
    yield "suggestions", lambda: keys(client.get("/api/suggest/", {"q": "mug"}))
    addresses = {
        "page": (page, {"q": "mug"}),
        "page by price": (page, {"q": "mug", "sort": "price"}),
        "page similar": (page, {"similar": plain.images.get().pk}),
        "page similar of it": (page, {"similar": odd.images.get().pk}),
        "admin overview": ("/admin/shopsearch/collection/", {}),
        "admin images": ("/admin/shopsearch/productimage/", {}),
        "admin entries": ("/admin/shopsearch/indexentry/", {}),
        "admin reranks": ("/admin/shopsearch/rerank/", {}),
        "admin rules": ("/admin/shopsearch/rule/", {}),
        "admin rule": (f"/admin/shopsearch/rule/{Rule.objects.get().pk}/change/", {}),
        "admin preview": (f"/admin/shopsearch/rule/{Rule.objects.get().pk}/preview/", {"q": "mug"}),
        "health": ("/api/health/ready/", {}),
    }
    for name, (address, parameters) in addresses.items():

        def shown(name=name, address=address, parameters=parameters):
            response = client.get(address, parameters, follow=True)
            # The page says in a sentence that a product without its own code's answers is not there.
            others = {"page similar of it": 400, "health": 503}
            assert response.status_code in (200, others.get(name)), address
            assert b"supplier" not in response.content
            ids = {int(each) for each in re.findall(rb'data-product-id="(\d+)"', response.content)}
            return ids if name in ("page", "page by price") else None

        yield name, shown


@pytest.mark.parametrize("method", METHODS)
def test_a_product_that_the_shops_code_fails_for_takes_nothing_down(method, shop, fail, client, caplog):
    odd, plain = shop
    client.force_login(User.objects.create_superuser("boss"))
    fail(method, odd)
    wanted = set(Product.objects.values_list("pk", flat=True)) - ({odd.pk} if method in HIDING else set())
    for name, shown in places(client, odd, plain):
        found = shown()
        assert found is None or found == wanted, name
    while reranking.has_queued():
        reranking.answer_next()
    for rerank in Rerank.objects.all():
        assert rerank.state == "done", rerank.error
        assert client.get(f"/admin/shopsearch/rerank/{rerank.pk}/change/").status_code == 200
        assert client.get(f"/api/reranks/{rerank.pk}/").status_code == 200
    assert Rerank.objects.exists()
    # Indexing says of the image what cannot be read, and goes on.
    Product.objects.update(price=7)
    for each in (odd, plain):
        each.images.get().save()
    index_everything()
    assert IndexEntry.objects.get(image_id=str(plain.images.get().pk)).state == "indexed"
    assert "supplier" in caplog.text


def test_what_fails_is_logged_once_and_again_after_it_was_well(shop, fail, caplog, monkeypatch):
    odd, _plain = shop

    def told():
        return [each for each in caplog.records if each.levelno >= logging.ERROR]

    fail("get_filter_values", odd)
    for _again in range(3):
        search("mug", sort="price")
    [first] = told()
    assert f"the filter values of ProductImage {odd.images.get().pk}" in first.getMessage()
    monkeypatch.undo()
    search("mug", sort="price")
    fail("get_filter_values", odd)
    search("mug", sort="price")
    assert len(told()) == 2
