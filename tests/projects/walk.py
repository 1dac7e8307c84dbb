"""One walk through a whole search: a product is saved, indexed, found, sorted and reranked, and health is asked."""

import re

from shopsearch.api import health
from shopsearch.models import Rerank
from shopsearch.search import reranking
from tests.shop.pictures import BLUE, RED, product
from tests.shop.store import index_everything

RERANKED = {
    "RERANKER": {"BACKEND": "tests.shop.rerankers.LastFirst"},
    "RERANK_WEIGHT": 1,
    "RERANK_LIFT": 8,
    "THROTTLE_RATE": None,
    "RERANK_DEADLINE_SECONDS": 3600,
    "METRICS_TOKEN": "token",
}
FIRST, SECOND = 1_234_567, 7_654_321
"""Keys long enough to be written with separators."""


def walk(client, prefix=""):
    """Walk through the shop whose addresses begin with ``prefix``."""
    walk_through_api(client, prefix)
    page = client.get(f"{prefix}/search/", {"q": "red"}, HTTP_SEC_FETCH_DEST="document").content.decode()
    assert f'action="{prefix}/search/"' in page
    assert re.findall('data-product-id="([^"]*)"', page) == [str(SECOND), str(FIRST)]
    assert f'data-shopsearch-better="{SECOND} {FIRST}"' in page
    assert f'data-shopsearch-first="{FIRST} {SECOND}"' in page
    assert f'data-shopsearch-rerank="{prefix}/api/reranks/{Rerank.objects.get().pk}/"' in page
    assert re.findall('data-shopsearch-seconds="([^"]*)"', page) == ["3600"]
    ranges = re.findall('data-shopsearch-choice="price=([^"]*)"', page)
    assert len(ranges) > 1
    assert all(re.fullmatch(r"[0-9.]*-[0-9.]*", each) for each in ranges)


def walk_through_api(client, prefix="", **sent):
    """The part of the walk that is REST; ``sent`` goes with each request."""

    def get(path, data=None, status=200, **headers):
        answer = client.get(prefix + path, data, **sent, **headers)
        assert answer.status_code == status, (path, answer.status_code, answer.content[:500])
        return answer

    product(RED, pk=FIRST, title="red mug", price="1234.50")
    product(BLUE, pk=SECOND, title="blue mug", price="1000")
    index_everything()

    answer = get("/api/search/", {"q": "red", "facets": "price", "rerank": "true"}).json()
    assert [each["product"]["id"] for each in answer["results"]] == [FIRST, SECOND]
    assert answer["facets"]["price"]["minimum"] == 1000
    by_price = get("/api/search/", {"q": "red", "sort": "price", "price__gte": "1000"}).json()
    assert [each["product"]["id"] for each in by_price["results"]] == [SECOND, FIRST]
    alike = get(f"/api/products/{FIRST}/similar/").json()
    assert [each["product"]["id"] for each in alike["results"]] == [SECOND]
    assert get("/api/search/", status=400).json()["code"] == "empty_query"

    address = answer["rerank"]["url"]
    assert address.startswith(f"http://testserver{prefix}/api/reranks/")
    assert reranking.answer_next()
    assert get(address.removeprefix(f"http://testserver{prefix}")).json()["order"] == [SECOND, FIRST]
    assert get("/api/reranks/none/", status=404).json()["code"] == "not_found"

    health.forget()
    assert get("/api/health/live/").json() == {"live": True}
    others = ["broker", "embedder", "database", "indexes"]
    assert list(get("/api/health/ready/", {"exclude": others}).json()["parts"]) == ["vector_store"]
    assert b"shopsearch_outbox_rows" in get("/api/metrics/", HTTP_AUTHORIZATION="Bearer token").content
