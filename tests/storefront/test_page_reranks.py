"""The search page and reranks: asked for by the script alone, with the first results, and told by their address."""

import pytest
from django.urls import reverse

from shopsearch.conf import DEFAULTS
from shopsearch.models import Rerank
from shopsearch.search import reranking
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import index_everything
from tests.storefront.test_widget import Elements

pytestmark = pytest.mark.django_db

FRAGMENT = {"X-Shopsearch-Fragment": "results"}


@pytest.fixture
def shop(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "PAGE_SIZE": 3, "THROTTLE_RATE": None}
    for number, colour in enumerate((RED, BLUE, GREEN, RED, BLUE)):
        product(colour, title=f"thing {number}", price=number)
    index_everything()


def lines(response):
    return [each for _, each in Elements(response.content.decode()).found if "data-shopsearch-order" in each]


@pytest.mark.usefixtures("shop")
def test_the_script_is_given_the_address_of_a_rerank_with_the_results(client):
    [line] = lines(client.get("/search/", {"q": "red"}, headers=FRAGMENT))
    assert line["data-shopsearch-rerank"] == reverse("shopsearch:api-rerank", args=[Rerank.objects.get().pk])
    assert int(line["data-shopsearch-seconds"]) == DEFAULTS["RERANK_DEADLINE_SECONDS"]
    assert client.get(line["data-shopsearch-rerank"]).json()["state"] == "queued"


@pytest.mark.usefixtures("shop")
def test_a_posted_picture_is_reranked_too(client):
    response = client.post("/search/?picture=1", {"image": picture(BLUE)}, headers=FRAGMENT)
    assert lines(response)[0]["data-shopsearch-rerank"]
    assert Rerank.objects.get().picture


@pytest.mark.usefixtures("shop")
def test_a_whole_page_has_a_place_for_the_better_order_but_asks_for_none(client):
    [line] = lines(client.get("/search/", {"q": "red"}))
    assert line["data-shopsearch-rerank"] == ""
    assert not Rerank.objects.exists()


@pytest.mark.usefixtures("shop")
def test_a_page_that_a_browser_shows_asks_for_a_rerank_at_once(client):
    [line] = lines(client.get("/search/", {"q": "red"}, headers={"Sec-Fetch-Dest": "document"}))
    assert line["data-shopsearch-rerank"] == reverse("shopsearch:api-rerank", args=[Rerank.objects.get().pk])


@pytest.mark.usefixtures("shop")
def test_an_order_that_is_known_is_rendered(client):
    first = client.get("/search/", {"q": "red"}, headers=FRAGMENT).context["search"].cards
    assert reranking.answer_next()
    response = client.get("/search/", {"q": "red"}, headers=FRAGMENT)
    order = Rerank.objects.get().order
    assert [card.result.product.pk for card in response.context["search"].cards] == order
    [line] = lines(response)
    shown = order != [card.result.product.pk for card in first]
    assert line["data-shopsearch-order"] == ("shown" if shown else "kept")


@pytest.mark.usefixtures("shop")
def test_a_form_posted_without_script_is_not_reranked(client):
    assert lines(client.post("/search/", {"image": picture(BLUE)})) == []
    assert not Rerank.objects.exists()


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("more", [{"offset": "3"}, {"price__lte": "0"}], ids=["second page", "one result"])
def test_what_cannot_be_reordered_has_no_line_and_no_rerank(client, more):
    assert lines(client.get("/search/", {"q": "red", **more}, headers=FRAGMENT)) == []
    assert not Rerank.objects.exists()


@pytest.mark.usefixtures("shop")
def test_the_script_asking_twice_is_told_of_one_rerank(client):
    twice = [client.get("/search/", {"q": "red"}, headers=FRAGMENT) for _ in range(2)]
    assert lines(twice[0]) == lines(twice[1])
    assert Rerank.objects.count() == 1


def test_a_shop_without_a_reranker_has_no_line(client, settings, request):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "RERANKER": None}
    request.getfixturevalue("shop")
    response = client.get("/search/", {"q": "red"}, headers=FRAGMENT)
    assert len(response.context["search"].cards) == 3
    assert lines(response) == []
