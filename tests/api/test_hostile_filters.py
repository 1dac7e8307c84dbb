"""Hostile filters find what they may find and nothing else, on every store and through the REST API.

A few here; as many as SHOPSEARCH_HOSTILE_FILTERS says, on each store and each way.
"""

import json
import os
from collections import Counter
from urllib.parse import quote

import pytest
from django.core.cache import cache
from hypothesis import HealthCheck, given, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shopsearch import filters
from shopsearch.api.serializers import RESERVED
from shopsearch.exceptions import FilterError
from shopsearch.models import ProductImage
from shopsearch.testing import MemoryStore
from shopsearch.types import CollectionSchema
from shopsearch.vector_stores.milvus.store import MilvusStore
from tests.api.hostile_filters import FIELDS, FRAGMENTS, NO_TEXT, REFUSED, expected, rows
from tests.api.hostile_filters import filters as hostile
from tests.shop.models import Category, Product
from tests.shop.pictures import picture
from tests.shop.store import index_everything
from tests.vector_stores.contract import entity, numbers_of, unit
from tests.vector_stores.test_milvus_standalone import OldMilvusStore

MANY = int(os.environ.get("SHOPSEARCH_HOSTILE_FILTERS", "50"))
URL = "/api/search/"

tries = hypothesis_settings(max_examples=MANY, suppress_health_check=list(HealthCheck), print_blob=True)
STORES = [
    "memory",
    pytest.param("milvus_lite", marks=pytest.mark.services),
    pytest.param("milvus_standalone", marks=[pytest.mark.services, pytest.mark.nightly]),
]


def options(name, request):
    """The backend, and what it is constructed with."""
    if name == "memory":
        return MemoryStore, {}
    server = request.getfixturevalue(name)
    if name == "milvus_lite":
        return MilvusStore, {"uri": server}
    return OldMilvusStore, {"uri": server.uri, "token": server.token}


def tell(name, way, counted):
    """How much was tried: a run that found nothing or refused nothing would have shown nothing."""
    print(f"{name}, {way}: {counted.total()} filters, {dict(counted)}")
    assert counted["found"] > 0 < counted["refused"]


@pytest.mark.parametrize("name", STORES)
def test_a_store_finds_exactly_what_the_filter_means(name, request):
    backend, arguments = options(name, request)
    store, held, counted = backend(**arguments), rows([*FRAGMENTS, *NO_TEXT]), Counter()
    store.drop_collection("hostile")
    store.ensure_collection("hostile", CollectionSchema(dimension=8, fields=FIELDS))
    store.upsert(
        "hostile",
        [
            entity(n, category=row.category, price=row.price, in_stock=row.in_stock, tags=row.tags)
            for n, row in enumerate(held)
        ],
    )

    @tries
    @given(hostile(held))
    def finds_what_it_means(asked):
        note(f"asked: {asked!r}")
        allowed = expected(asked, held)
        try:
            condition = filters.parse(asked, FIELDS)
        except FilterError:
            assert allowed == REFUSED
            counted["refused"] += 1
            return
        found = numbers_of(store.search("hostile", unit(1), limit=100, filters=condition))
        assert sorted(found) == sorted(allowed)
        counted["found" if found else "nothing"] += 1

    finds_what_it_means()
    store.drop_collection("hostile")
    tell(name, "the store", counted)


# Through the REST API


def urlencoded(asked):
    """As a query string or a form, where half a surrogate pair travels as bytes that are no UTF-8."""
    return "&".join(
        f"{quote(key.encode('utf-8', 'surrogatepass'))}={quote(str(value).encode('utf-8', 'surrogatepass'))}"
        for key, values in asked.items()
        for value in values
    )


def by_address(client, asked):
    return client.get(f"{URL}?q=red&limit=100&{urlencoded(asked)}")


def by_form(client, asked):
    return client.post(
        URL, f"q=red&limit=100&{urlencoded(asked)}", content_type="application/x-www-form-urlencoded"
    )


def by_json(client, asked):
    body = json.dumps({**asked, "q": "red", "limit": 100})
    return client.post(URL, body, content_type="application/json")


def arrived(asked, send):
    """What the API gets of it."""
    if send is by_json:  # where two halves may have become a whole
        return json.loads(json.dumps(asked))
    arrives: dict[str, list[str]] = {}
    for key, values in asked.items():
        decode = [
            str(text).encode("utf-8", "surrogatepass").decode("utf-8", "replace") for text in (key, *values)
        ]
        arrives.setdefault(decode[0], []).extend(decode[1:])
    return arrives


def is_text(asked):
    texts = [text for key, values in asked.items() for text in (key, *values) if isinstance(text, str)]
    return not any(
        character == "\0" or "\ud800" <= character <= "\udfff" for text in texts for character in text
    )


@pytest.mark.django_db
@pytest.mark.parametrize("name", STORES)
def test_the_rest_api_finds_exactly_what_the_filter_means(name, request, settings, client):
    backend, arguments = options(name, request)
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "VECTOR_STORE": {"BACKEND": f"{backend.__module__}.{backend.__qualname__}", "OPTIONS": arguments},
        "THROTTLE_RATE": None,
        "COLLECTION_PREFIX": f"hostile_{name}",
    }
    cache.clear()
    held, counted = rows(), Counter()
    products = [
        Product.objects.create(
            title="red",
            category=Category.objects.create(name=row.category),
            price=row.price,
            in_stock=row.in_stock,
            tags=list(row.tags),
        )
        for row in held
    ]
    number_of = {product.pk: number for number, product in enumerate(products)}
    for product in products:
        ProductImage.objects.create(product=product, image=picture())
    index_everything()

    @tries
    @given(
        hostile(held).filter(lambda asked: not RESERVED & asked.keys()),
        st.sampled_from([by_address, by_form, by_json]),
    )
    def finds_what_it_means(asked, send):
        note(f"asked, {send.__name__}: {asked!r}")
        response, arrives = send(client, asked), arrived(asked, send)
        allowed = expected(arrives, held) if is_text(arrives) else REFUSED
        if allowed == REFUSED:
            assert response.status_code == 400, response.content
            assert set(response.json()) == {"code", "detail"}
            counted["refused"] += 1
        else:
            assert response.status_code == 200, response.content
            found = [number_of[result["product"]["id"]] for result in response.json()["results"]]
            assert sorted(found) == sorted(allowed)
            counted["found" if found else "nothing"] += 1

    finds_what_it_means()
    tell(name, "the REST API", counted)
