"""An answer that says it is weak: in Python, by the API and on the page. The stand-ins see colour."""

import numpy as np
import pytest
from django.core.cache import cache
from django.utils import translation

from shopsearch.backends import get_embedder
from shopsearch.indexing import batch
from shopsearch.models import ProductImage
from shopsearch.models.evaluation import Calibration
from shopsearch.registry import index_for
from shopsearch.search import calibration as calibrations
from shopsearch.search import reranking
from shopsearch.search.engine import search
from shopsearch.types import Query
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.storefront.test_widget import Elements

pytestmark = pytest.mark.django_db

SORRY = "We may not sell what you are looking for."


@pytest.fixture(autouse=True)
def _a_shop_of_red_and_green(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None, "PAGE_SIZE": 2}
    cache.clear()
    product(RED, title="red mug", price=8)
    product(GREEN, title="green mug", price=12)
    product(GREEN, title="green plate", price=20)
    list(batch.index_pending())


def calibrated(threshold=0.5, weight=0.0, kind="text"):
    calibration = Calibration(
        index=index_for(ProductImage).name,
        space=get_embedder().space,
        kind=kind,
        threshold=threshold,
        weight=weight,
        typical=[0.1] * get_embedder().dimension,
        pairs=100,
    )
    calibrations.save([calibration])
    return calibration


def test_without_a_calibration_nothing_is_said(client):
    results = search("purple")
    assert (results.match, results.weak_below) == ("unknown", None)
    answer = client.get("/api/search/", {"q": "purple"}).json()
    assert (answer["match"], answer["weak_below"]) == ("unknown", None)
    assert SORRY not in client.get("/search/", {"q": "purple"}).content.decode()


def test_an_answer_is_weak_when_its_best_result_is_below_the_threshold(client):
    calibrated(0.5)
    assert search("purple").match == "weak"
    assert search("red").match == "good"
    answer = client.get("/api/search/", {"q": "purple"}).json()
    assert (answer["match"], answer["weak_below"]) == ("weak", 0.5)
    assert len(answer["results"]) == 2
    assert client.get("/api/search/", {"q": "red"}).json()["match"] == "good"


def test_a_weak_answer_has_no_better_order_for_shoppers_and_for_the_evaluation_alike():
    index = index_for(ProductImage)
    assert reranking.order_of(index, search("purple")) is not None
    calibrated(0.5)
    assert reranking.order_of(index, search("purple")) is None
    assert reranking.request(index, search("purple")) is None


def test_every_page_of_an_answer_says_the_same():
    calibrated(0.5)
    assert search("green", limit=1, offset=1).match == "good"
    assert search("green", offset=2).match == "good"
    assert search("purple", offset=2).match == "weak"


def test_what_is_weak_by_picture_and_by_words_is_not_among_the_results():
    calibrated(0.5)
    assert [result.product.title for result in search("red").results] == ["red mug"]
    assert len(search("purple", limit=10).results) == 3, "the closest, where everything is weak"


def test_the_weight_lifts_the_threshold_of_a_query_that_is_near_everything():
    calibration = calibrated(0.5, weight=1.0)
    [vector] = get_embedder().embed([Query(text="red")])
    assert search("red").weak_below == pytest.approx(0.5 + vector.sum() * 0.1, abs=1e-6)
    assert calibration.weak_below(np.zeros_like(vector)) == 0.5


def test_each_kind_of_query_has_its_own_threshold():
    calibrated(2.0, kind="image")
    assert search("red").match == "unknown"


def test_an_answer_without_results_is_not_called_weak():
    calibrated(0.5)
    assert search("purple", filters={"price__gte": 1000}).match == "unknown"


def test_a_new_calibration_counts_at_once_in_this_process():
    calibrated(0.5)
    assert search("red").match == "good"
    calibrated(2.0)
    assert search("red").match == "weak"
    assert Calibration.objects.count() == 1


def test_calibrations_are_read_once_in_a_while(django_assert_num_queries):
    calibrated(0.5)
    search("red")
    with django_assert_num_queries(3):  # which collection answers, what is shown, and the page
        assert search("green").match == "good"


def test_a_calibration_of_another_model_is_not_used():
    calibrated(2.0)
    Calibration.objects.update(space="older")
    calibrations.forget()
    assert search("red").match == "unknown"


def test_the_page_says_so_above_the_results_and_to_those_who_listen(client):
    calibrated(0.5)
    response = client.get("/search/", {"q": "purple"})
    html = response.content.decode()
    assert f"{SORRY} The closest we have:" in html
    assert html.index("The closest we have:") < html.index("<article")
    [found] = Elements(html).all("div", **{"data-shopsearch-found": None})
    assert found["data-shopsearch-announcement"] == f"{SORRY} 2 results: “purple”"
    assert Elements(html).all("ol", **{"class": "shopsearch-grid shopsearch-grid--weak"})
    assert SORRY not in client.get("/search/", {"q": "red"}).content.decode()


def test_of_a_picture_alone_the_page_says_that_the_shop_may_not_have_exactly_that(client):
    calibrated(1.1, kind="image")
    html = client.post("/search/", {"image": picture(RED)}).content.decode()
    assert "We may not have exactly what your picture shows. The closest we have:" in html
    assert SORRY not in html


def test_the_page_says_it_once_and_not_again_with_more_results(client):
    calibrated(0.5)
    assert SORRY not in client.get("/search/", {"q": "purple", "offset": 2}).content.decode()


def test_the_page_says_it_in_spanish(client):
    calibrated(0.5)
    with translation.override("es"):
        html = client.get("/search/", {"q": "purple"}).content.decode()
    assert "Puede que no vendamos lo que buscas. Lo más parecido que tenemos:" in html


def test_what_the_shop_begins_to_sell_is_a_good_match():
    calibrated(0.5)
    assert search("blue").match == "weak"
    product(BLUE, title="blue mug")
    list(batch.index_pending())
    assert search("blue").match == "good"
