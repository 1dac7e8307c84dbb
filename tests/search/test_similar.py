"""Similar products: by stored vectors alone."""

import re
from html import unescape

import pytest
from django.core.cache import cache
from django.template import Context, Template
from django.urls import reverse

from shopsearch.backends import get_embedder
from shopsearch.exceptions import FilterError, QueryError, VectorStoreError
from shopsearch.search.engine import similar
from shopsearch.testing import MemoryStore
from tests.shop.models import Artist, Artwork, Poster, PosterImage, Product
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _an_empty_store_and_no_throttle(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    cache.clear()


@pytest.fixture
def shop():
    made = {
        "rose": product(RED, title="rose", price=5),
        "cherry": product((210, 40, 40), title="cherry", price=9),
        "brick": product((190, 60, 50), title="brick", price=20),
        "leaf": product(GREEN, title="leaf", price=7),
        "sea": product(BLUE, title="sea", price=8),
    }
    index_everything()
    get_embedder().embedded = 0
    yield made
    assert get_embedder().embedded == 0  # in whatever way the test asked


def titles(results):
    return [result.product.title for result in results.results]


def test_what_looks_alike_comes_first_and_never_the_product_itself(shop):
    assert titles(similar(shop["rose"]))[:2] == ["cherry", "brick"]
    assert len(titles(similar(shop["rose"]))) == 4


def test_scores_fall_and_ranks_go_on_over_the_pages(shop):
    whole = similar(shop["rose"])
    pages = [similar(shop["rose"], limit=3, offset=offset) for offset in (0, 3)]
    assert [each.score for each in whole.results] == sorted(
        (each.score for each in whole.results), reverse=True
    )
    assert [each.rank for page in pages for each in page.results] == [1, 2, 3, 4]
    assert titles(pages[0]) + titles(pages[1]) == titles(whole)
    assert [page.has_next for page in pages] == [True, False]


def test_hidden_and_deleted_products_are_not_among_them(shop):
    Product.objects.filter(title="cherry").update(published=False)
    shop["brick"].delete()
    assert set(titles(similar(shop["rose"]))) == {"leaf", "sea"}


def test_filters_narrow_them(shop):
    assert titles(similar(shop["rose"], filters={"price__gte": 8, "price__lte": 9})) == ["cherry", "sea"]
    with pytest.raises(FilterError):
        similar(shop["rose"], filters={"colour": "red"})
    with pytest.raises(QueryError, match="limit"):
        similar(shop["rose"], limit=0)


def test_a_product_of_several_pictures_is_their_mean_whatever_their_order():
    rose = product(RED, RED, RED, title="rose")
    mixed = [product(*colours, title="mixed") for colours in [(RED, RED, BLUE), (BLUE, RED, RED)]]
    product(BLUE, title="sea")
    index_everything()
    assert titles(similar(rose))[-1] == "sea"
    for each in mixed:
        alike = similar(each).results
        assert [result.product.title for result in alike if result.product not in mixed] == ["rose", "sea"]


def test_one_product_with_very_many_pictures_leaves_room_for_the_others():
    rose = product(RED, title="rose")
    many = product(*[RED] * 150, title="many")
    product(BLUE, title="sea")
    index_everything()
    assert titles(similar(many, limit=2)) == ["rose", "sea"]
    assert titles(similar(rose, limit=2)) == ["many", "sea"]


def test_nothing_is_similar_to_what_is_not_indexed_yet_or_not_shown(shop):
    new = product(RED, title="new")
    assert similar(new).results == ()
    Product.objects.filter(title="rose").update(published=False)
    assert similar(shop["rose"]).results == ()
    assert similar(Product.objects.create(title="no picture")).results == ()


def test_before_anything_was_indexed_nothing_is_similar():
    assert similar(product(RED)).results == ()


def test_the_index_is_the_one_of_the_products_model():
    posters = [Poster.objects.create(title=title, artist=Artist.objects.create(name="a")) for title in "ab"]
    for poster in posters:
        PosterImage.objects.create(product=poster, image=picture(RED))
    works = [Artwork.objects.create(code=code, original=picture(RED)) for code in ("x/y\n z", "w")]
    index_everything()
    assert titles(similar(posters[0])) == ["b"]
    assert [result.product for result in similar(works[0]).results] == [works[1]]


def test_a_store_that_is_away_is_said_to_be(shop, monkeypatch):
    monkeypatch.setattr(MemoryStore, "fetch", lambda *args: (_ for _ in ()).throw(VectorStoreError()))
    with pytest.raises(VectorStoreError):
        similar(shop["rose"])


# The REST API


def get(client, key, **parameters):
    return client.get(reverse("shopsearch:api-similar", args=[key]), parameters)


def test_the_rest_api_answers_as_a_search_does(client, shop):
    answer = get(client, shop["rose"].pk, limit=2, price__lte=100).json()
    assert set(answer) == {"results", "count", "next", "previous"}
    assert [each["product"]["title"] for each in answer["results"]] == ["cherry", "brick"]
    assert [each["rank"] for each in answer["results"]] == [1, 2]
    following = client.get(answer["next"]).json()
    assert [each["product"]["title"] for each in following["results"]] == ["leaf", "sea"] or following[
        "count"
    ] == 2
    assert following["next"] is None
    assert client.get(following["previous"]).json() == answer


@pytest.mark.parametrize("key", ["0", "x", "9" * 40, "a/b", "x\n", "\0", "%"])
def test_a_product_that_the_shop_does_not_show_is_a_404_in_our_form(client, shop, key):
    response = get(client, key)
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_a_hidden_product_is_a_404_and_one_that_is_not_indexed_yet_an_empty_list(client, shop):
    Product.objects.filter(title="rose").update(published=False)
    assert get(client, shop["rose"].pk).status_code == 404
    answer = get(client, product(RED, title="new").pk)
    assert (answer.status_code, answer.json()["results"]) == (200, [])


def test_a_key_of_any_text_has_an_address(client):
    works = [Artwork.objects.create(code=code, original=picture(RED)) for code in ("x/y\n z%", "w")]
    index_everything()
    answer = get(client, works[0].pk, index="shop_artwork").json()
    assert [each["product"]["id"] for each in answer["results"]] == ["w"]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"colour": "red"}, "invalid_filter"),
        ({"limit": "0"}, "invalid"),
        ({"offset": "1000"}, "invalid"),
        ({"index": "x"}, "invalid"),
        ({"q": "red"}, "invalid"),
        ({"rerank": "true"}, "invalid"),
    ],
)
def test_a_wrong_parameter_is_refused(client, shop, parameters, code):
    response = get(client, shop["rose"].pk, **parameters)
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_only_get_is_answered(client, shop):
    assert client.post(reverse("shopsearch:api-similar", args=[shop["rose"].pk])).status_code == 405


# In a template


def shown(product, arguments=""):
    tag = f"{{% similar_products product {arguments} as alike %}}"
    template = Template(
        "{% load shopsearch %}" + tag + "{% for each in alike %}{{ each.product.title }} {% endfor %}"
    )
    return template.render(Context({"product": product})).split()


def test_a_template_shows_them(shop):
    assert shown(shop["rose"], "limit=2") == ["cherry", "brick"]
    assert shown(shop["rose"], "price__gte=8 price__lte=9") == ["cherry", "sea"]


def test_a_template_does_without_them_while_the_store_is_away(shop, monkeypatch, caplog):
    monkeypatch.setattr(MemoryStore, "fetch", lambda *args: (_ for _ in ()).throw(VectorStoreError()))
    assert shown(shop["rose"]) == []
    assert "No similar products" in caplog.text


def later(product, arguments=""):
    """The address that a template's place for similar products loads."""
    tag = f"{{% shopsearch_similar product {arguments} %}}"
    place = Template("{% load shopsearch %}" + tag).render(Context({"product": product}))
    return unescape(re.search(r'data-shopsearch-similar="([^"]+)"', place)[1])


def test_a_template_that_loads_them_later_asks_no_store_while_the_page_is_made(shop, client, monkeypatch):
    asked = []
    monkeypatch.setattr(MemoryStore, "fetch", lambda *args: asked.append("fetch") or [])
    monkeypatch.setattr(MemoryStore, "search", lambda *args, **kwargs: asked.append("search") or [])
    address = later(shop["rose"], "limit=2")
    assert asked == []
    assert client.get(address).status_code == 204
    assert asked


def test_they_come_by_themselves_as_cards_under_the_same_filters(shop, client):
    def titles(arguments):
        response = client.get(later(shop["rose"], arguments))
        assert response.status_code == 200
        return [card.product["title"] for card in response.context["cards"]]

    assert titles("limit=2") == ["cherry", "brick"]
    assert titles("price__gte=8 price__lte=9") == ["cherry", "sea"]
    assert client.get(later(shop["rose"], "colour='red'")).status_code == 400


def test_nothing_is_loaded_while_the_store_is_away(shop, client, monkeypatch):
    monkeypatch.setattr(MemoryStore, "fetch", lambda *args: (_ for _ in ()).throw(VectorStoreError()))
    assert client.get(later(shop["rose"])).status_code == 204


def test_a_mistake_in_a_template_is_its_authors(shop):
    with pytest.raises(FilterError):
        shown(shop["rose"], "colour='red'")
