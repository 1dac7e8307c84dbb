"""The search page and reranks: asked for by the script alone, with the first results, and told by their address."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.urls import reverse

from shopsearch import FilterField
from shopsearch.conf import DEFAULTS
from shopsearch.models import ProductImage, Rerank
from shopsearch.registry import index_for
from shopsearch.search import reranking
from tests.shop.models import Category
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


@pytest.fixture
def leopards(monkeypatch, settings):
    """The index declares words, and a filter that has swatches."""
    index = index_for(ProductImage)
    swatches = {"red": "#d22", "blue": "#22d"}
    declared = {
        "words": ("title",),
        "language": "en",
        "filters": {**index.filters, "category": FilterField(str, "category__name", swatches=swatches)},
    }
    for name, value in declared.items():
        monkeypatch.setattr(type(index), name, value)
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    red, blue = (Category.objects.create(name=name) for name in swatches)
    for title, colour, category in (
        ("Leopard case", RED, red),
        ("Leopard case", BLUE, blue),
        ("Leopard mug", GREEN, red),
        ("Leopard mug", GREEN, red),
        ("Plain case", GREEN, red),
    ):
        product(colour, title=title, category=category)
    index_everything()


def chips(response):
    return {chip.label: parse_qs(urlsplit(chip.url).query) for chip in response.context["search"].reasons}


@pytest.mark.usefixtures("leopards")
def test_what_the_first_product_shares_with_the_search_becomes_links_that_keep_drop_or_change_it(client):
    def asked(address):
        return client.post(address, {"image": picture(RED)}, headers=FRAGMENT)

    address = "/search/?q=case&picture=1&category=red&category=blue"
    assert chips(asked(address)) == {}, "not known yet"
    assert reranking.answer_next()
    found = asked(address)
    assert found.context["search"].cards[0].product["title"] == "Leopard case"
    kept = {"picture": ["1"], "category": ["red", "blue"]}
    assert chips(found) == {
        "with “leopard”": {**kept, "q": ["case leopard"]},
        "without “leopard”": {**kept, "q": ["case -leopard"]},
        "red": {"picture": ["1"], "q": ["case"], "category": ["red"]},
        "blue": {"picture": ["1"], "q": ["case"], "category": ["blue"]},
        "without “case”": kept,
    }
    followed = [asked(chip.url).context["search"] for chip in found.context["search"].reasons]
    assert all(search.cards for search in followed), "no link leads to nothing"
    assert "leopard" not in " ".join(card.product["title"] for card in followed[1].cards).lower()
    api = client.get(found.context["search"].rerank_url).json()["reasons"]
    assert [(each["kind"], each["value"]) for each in api] == [
        ("looks", "leopard"),
        ("colour", "red"),
        ("filter", "red"),
        ("words", "case"),
    ]
    assert api[0]["controls"][1] | {"label": ""} == {
        "action": "drop", "label": "", "add": "-leopard", "remove": "", "filters": {}, "swatch": "",
    }  # fmt: skip


@pytest.mark.usefixtures("leopards")
@pytest.mark.parametrize(
    ("typed", "left"), [("case!", []), ("(CASE)", []), ("case, 5", ["5"]), ("mug/case 5", ["mug/case 5"])]
)
def test_words_are_dropped_with_the_signs_around_them(client, typed, left):
    def asked():
        return client.post(
            "/search/", {"image": picture(RED)}, headers=FRAGMENT, query_params={"q": typed, "picture": "1"}
        )

    asked()
    assert reranking.answer_next()
    found = chips(asked())
    dropped = [query for label, query in found.items() if label == "without “case”"]
    assert [query.get("q", []) for query in dropped] == [left] * (left != [typed])


@pytest.mark.usefixtures("leopards")
def test_words_that_were_typed_can_be_searched_for_word_for_word_and_a_chip_that_changes_nothing_is_left_out(
    client,
):
    client.get("/search/", {"q": "leopard case", "category": "red"}, headers=FRAGMENT)
    reranking.answer_next()
    found = client.get("/search/", {"q": "leopard case", "category": "red"}, headers=FRAGMENT)
    assert chips(found) == {"“leopard case” word for word": {"q": ['"leopard case"'], "category": ["red"]}}
