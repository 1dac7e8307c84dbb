"""What a search, a page and a batch cost, counted: who makes one dearer has to say so here.

The decoding steps of a rerank are counted in tests/rerankers/test_listwise.py.
"""

from collections import Counter
from unittest.mock import patch

import pytest
from django.db import connection
from django.db.models import Model

from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import batch
from shopsearch.models import Collection, ProductImage
from shopsearch.models.evaluation import Calibration
from shopsearch.registry import index_for
from shopsearch.search import calibration, rules
from shopsearch.search.engine import search
from tests.shop.models import Category, Product
from tests.shop.pictures import picture

pytestmark = pytest.mark.django_db
PRODUCTS = 60


class Costs(Counter):
    """How often each thing was done inside; what never was, is not in it."""

    def __enter__(self):
        store, embedder = get_vector_store(), get_embedder()
        build = Model.from_db.__func__
        self.patches = [
            patch.object(Model, "from_db", classmethod(self.counted("rows", build))),
            patch.object(embedder, "embed", self.counted("embedded", embedder.embed, len)),
            patch.object(
                store, "upsert", self.counted("upserted", store.upsert, lambda _, those: len(those))
            ),
            *(
                patch.object(store, verb, self.counted(verb, getattr(store, verb)))
                for verb in ("search", "search_words", "fetch", "count", "collections", "ensure_collection")
            ),
        ]
        for each in self.patches:
            each.start()
        self.queries = connection.execute_wrapper(
            lambda execute, *rest: self.counted("queries", execute)(*rest)
        )
        self.queries.__enter__()
        return self

    def __exit__(self, *error):
        self.queries.__exit__(*error)
        for each in self.patches:
            each.stop()

    def counted(self, what, call, number=lambda *_: 1):
        def counting(*arguments, **options):
            self[what] += number(*arguments)
            return call(*arguments, **options)

        return counting


def filled(count):
    """A shop of so many products, a picture each, about to be indexed."""
    category = Category.objects.create(name="mugs")
    name = ProductImage().image.storage.save("one.png", picture())
    products = Product.objects.bulk_create(
        Product(title=f"red mug {number}", category=category, price=number) for number in range(count)
    )
    images = ProductImage.objects.bulk_create(ProductImage(product=each, image=name) for each in products)
    ProductImage.objects.filter(pk__in=[each.pk for each in images]).reindex()


@pytest.fixture(autouse=True)
def _backends_of_its_own(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "BATCH_SIZE": PRODUCTS, "QUERY_CACHE_SECONDS": 0}


@pytest.fixture
def shop():
    filled(PRODUCTS)
    assert batch.index_batch().embedded == PRODUCTS
    rules.in_force(index_for(ProductImage), "")  # read once in a while


@pytest.mark.usefixtures("shop")
def test_a_search_reads_the_rows_of_one_page():
    with Costs() as costs:
        assert len(search("red mug", limit=24).results) == 24
    assert costs == {"queries": 4, "rows": 1 + 2 * 24, "embedded": 1, "search": 1}


@pytest.mark.usefixtures("shop")
def test_a_search_asks_which_products_are_shown_of_those_of_its_page_and_the_next_one():
    asked = []

    def noted(execute, sql, parameters, *rest):
        asked.append(len(parameters or ()))
        return execute(sql, parameters, *rest)

    with connection.execute_wrapper(noted):
        assert len(search("red mug", limit=9).results) == 9
    assert max(asked) <= 9 + 2 + 1  # the conditions of the shop's own queryset


@pytest.mark.usefixtures("shop")
def test_hidden_products_cost_a_few_more_queries_and_not_one_each():
    shown = Product.objects.order_by("-pk")[:5].values("pk")
    Product.objects.exclude(pk__in=list(shown.values_list("pk", flat=True))).update(published=False)
    with Costs() as costs:
        assert len(search("red mug", limit=4).results) == 4
    assert costs["queries"] <= 4 + 4


@pytest.mark.usefixtures("shop")
def test_an_answer_of_the_api_costs_no_more_than_its_search(client):
    with Costs() as costs:
        assert client.get("/api/search/", {"q": "red mug", "limit": 24}).json()["count"] == 24
    assert costs == {"queries": 4, "rows": 1 + 2 * 24, "embedded": 1, "search": 1}


@pytest.mark.usefixtures("shop")
def test_a_page_adds_its_facets_and_no_rows(client):
    with Costs() as costs:
        assert client.get("/search/", {"q": "red mug"}).status_code == 200
    assert costs["rows"] <= 1 + 2 * 24
    assert costs["queries"] <= 4 + 6
    assert (costs["embedded"], costs["search"], costs["fetch"]) == (1, 1, 0)


@pytest.mark.usefixtures("shop")
def test_the_facets_and_the_number_of_a_result_set_are_one_query_and_no_second_search(client):
    space, typical = get_embedder().space, [0.0] * get_embedder().dimension
    known = {"index": index_for(ProductImage).name, "space": space, "kind": "text", "typical": typical}
    calibration.save([Calibration(threshold=0.1, weight=0, pairs=9, **known)])
    client.get("/search/", {"q": "red"})  # reads the calibration, which is kept
    with Costs() as costs:
        assert "60 results" in client.get("/search/", {"q": "red mug"}).content.decode()
    assert (costs["embedded"], costs["search"], costs["queries"]) == (1, 1, 4)
    with Costs() as costs:  # one search of the whole set, and one of what is chosen
        assert "1 result<" in client.get("/search/", {"q": "red mug", "price": "7"}).content.decode()
    assert (costs["search"], costs["queries"]) == (2, 4)


@pytest.mark.parametrize("count", [PRODUCTS // 4, PRODUCTS])
def test_a_batch_embeds_each_picture_once_and_takes_as_many_queries_for_many_as_for_few(count):
    filled(count)
    with Costs() as costs:
        assert batch.index_batch().claimed == count
    assert (costs["embedded"], costs["upserted"], costs["fetch"]) == (1, count, 0)  # one file for all
    assert (
        costs["queries"] <= 64
    )  # the category that is new as well: 13; words, titles and values to suggest: 10


@pytest.mark.usefixtures("shop")
def test_a_batch_in_which_nothing_changed_embeds_and_writes_nothing():
    ProductImage.objects.all().reindex()
    with Costs() as costs:
        assert batch.index_batch().unchanged == PRODUCTS
    assert (costs["embedded"], costs["upserted"], costs["fetch"]) == (0, 0, 1)
    assert costs["queries"] <= 29  # titles and values to suggest: 2, as they may have changed all the same


@pytest.mark.usefixtures("shop")
def test_a_change_of_prices_embeds_nothing():
    Product.objects.update(price=999)
    ProductImage.objects.all().reindex()
    with Costs() as costs:
        assert batch.index_batch().updated == PRODUCTS
    assert (costs["embedded"], costs["upserted"]) == (0, PRODUCTS)


@pytest.mark.services
def test_a_search_brings_ids_and_scores_from_milvus_and_no_vectors(milvus_lite, settings, monkeypatch):
    from pymilvus.client.search_result import SearchResult

    store = {"BACKEND": "shopsearch.vector_stores.milvus.MilvusStore", "OPTIONS": {"uri": milvus_lite}}
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "VECTOR_STORE": store}
    filled(PRODUCTS)
    assert batch.index_batch().embedded == PRODUCTS
    sizes, parse = [], SearchResult.__init__

    def counted(self, result, *arguments, **options):
        sizes.append(result.ByteSize())
        parse(self, result, *arguments, **options)

    monkeypatch.setattr(SearchResult, "__init__", counted)
    search("red mug")
    assert 0 < sum(sizes) <= PRODUCTS * 160
    get_vector_store().drop_collection(Collection.objects.get().name)
