"""Examples: what the results should be like and unlike; the vector that follows, and the part of a picture."""

import json
from io import BytesIO

import numpy as np
import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shopsearch.backends import get_embedder
from shopsearch.exceptions import EmptyQuery, QueryError
from shopsearch.models import ProductImage
from shopsearch.search import reranking
from shopsearch.search.engine import answer
from shopsearch.search.examples import MAX_EXAMPLES, PENALTY, Box, Example, steered
from shopsearch.search.request import SearchRequest
from shopsearch.testing import MemoryStore
from tests.shop.models import Product
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import index_everything

# The arithmetic

weights = st.floats(0.01, 1)


def random_vectors(seed, count):
    drawn = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_one_example_is_its_own_vector_whatever_its_weight():
    vector = np.asarray([0.6, 0.8], np.float32)
    assert np.allclose(steered([(0.3, vector)]), vector)


def test_wanted_vectors_count_by_their_weights():
    x, y = np.eye(2, dtype=np.float32)
    assert np.allclose(steered([(1, x), (1, y)]), [0.5**0.5, 0.5**0.5])
    assert np.allclose(steered([(1, x), (0.5, y)]), np.asarray([2, 1]) / 5**0.5)


def test_nothing_comes_of_what_cancels_out_nor_of_unwanted_vectors_alone():
    x = np.eye(2, dtype=np.float32)[0]
    assert steered([]) is steered([(-1, x)]) is steered([(1, x), (1, -x)]) is None


@given(st.integers(0, 2**32 - 1), st.lists(weights, min_size=1, max_size=3), st.lists(weights, max_size=4))
def test_the_penalty_cannot_throw_out_what_is_wanted(seed, wanted, unwanted):
    weighted = list(
        zip(
            [*wanted, *(-each for each in unwanted)],
            random_vectors(seed, len(wanted + unwanted)),
            strict=True,
        )
    )
    aim, vector = steered(weighted[: len(wanted)]), steered(weighted)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert aim @ vector >= (1 - PENALTY**2) ** 0.5 - 1e-4
    mean = sum(-weight * each for weight, each in weighted if weight < 0) / max(1, sum(unwanted))
    assert aim @ vector >= np.dot(mean, vector) - 1e-4 if unwanted else np.allclose(aim, vector)


# A part of a picture


def test_a_box_is_cut_by_shares_of_width_and_height():
    picture = Image.new("RGB", (200, 100), RED)
    picture.paste(BLUE, (100, 50, 200, 100))
    part = Box.of([0.5, 0.5, 0.5, 0.5]).cut(picture)
    assert part.size == (100, 50)
    assert part.getcolors() == [(5000, BLUE)]


@pytest.mark.parametrize(
    "numbers",
    [
        "",
        "0,0,1",
        "0,0,1,1,1",
        "a,0,1,1",
        "nan,0,1,1",
        "0,0,inf,1",
        "-0.1,0,1,1",
        "0,0,0,1",
        "0.5,0,0.6,1",
        "1,0,1,1",
    ],
)
def test_a_box_that_is_no_part_of_a_picture_is_refused_with_what_it_should_be(numbers):
    with pytest.raises(QueryError, match="part of a picture"):
        Box.of(numbers.split(","))


def test_a_part_in_which_nothing_can_be_seen_is_refused_but_a_small_picture_is_whole():
    with pytest.raises(QueryError, match="too small"):
        Box(x=0, y=0, width=0.01, height=1).cut(Image.new("RGB", (300, 300)))
    assert Box(x=0, y=0, width=1, height=1).cut(Image.new("RGB", (4, 4))).size == (4, 4)


@given(st.tuples(*[st.floats(0, 1)] * 4), st.tuples(*[st.integers(1, 300)] * 2))
def test_whatever_the_box_its_part_is_within_the_picture(numbers, size):
    try:
        part = Box.of(numbers).cut(Image.new("L", size))
    except QueryError:
        return
    assert all(1 <= part_side <= side for part_side, side in zip(part.size, size, strict=True))


# Searching with them

FLAG = Image.new("RGB", (64, 64), "white")
FLAG.paste(RED, (8, 8, 32, 56))
FLAG.paste(BLUE, (32, 8, 56, 56))
CORNER = Image.new("RGB", (64, 64), BLUE)
CORNER.paste(GREEN, (0, 0, 16, 16))


def file_of(picture):
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def shop(db, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    cache.clear()
    colours = {"rose": RED, "cherry": (210, 40, 40), "sea": BLUE, "leaf": GREEN}
    made = {title: product(colour, title=title) for title, colour in colours.items()}
    made["flag"] = product(title="flag")
    ProductImage.objects.create(product=made["flag"], image=ContentFile(file_of(FLAG), "flag.png"))
    index_everything()
    get_embedder().embedded = 0
    return made


def found(**asked):
    return [result.product.title for result in answer(SearchRequest(**asked)).results]


def like(each, weight=1.0):
    return Example(product=each.pk, weight=weight)


def test_stored_products_cost_one_fetch_and_no_model(shop, monkeypatch):
    fetched, fetch = [], MemoryStore.fetch
    monkeypatch.setattr(
        MemoryStore, "fetch", lambda self, name, ids: fetched.append(ids) or fetch(self, name, ids)
    )
    assert found(examples=[like(shop["rose"]), like(shop["sea"])])[0] == "flag"
    assert (len(fetched), len(fetched[0]), get_embedder().embedded) == (1, 2, 0)


def test_less_like_this_sinks_what_is_like_it(shop):
    assert found(examples=[like(shop["flag"]), like(shop["sea"], -1)])[0] in ("rose", "cherry")
    assert found(examples=[like(shop["flag"]), like(shop["rose"], -1)])[0] == "sea"


def test_a_product_of_many_images_leaves_no_other_example_out(shop, monkeypatch):
    monkeypatch.setattr("shopsearch.search.engine.MAX_IMAGES", 2)
    many, other = shop["rose"], shop["sea"]
    ProductImage.objects.filter(product=other).delete()
    for _ in range(6):
        ProductImage.objects.create(product=many, image=picture(GREEN))
    last = ProductImage.objects.create(product=other, image=picture(BLUE))
    index_everything()
    for example in (like(other), Example(image_id=last.pk)):
        known = answer(SearchRequest(examples=[like(many), example])).examples
        assert [each.product for each in known] == [many, other]
        assert [len(each.images) for each in known] == [2, 1]


def test_words_are_steered_too_and_the_examples_are_not_among_the_results(shop):
    assert set(found(text="red")[:2]) == {"rose", "cherry"}
    steered_away = found(text="red", examples=[like(shop["rose"], -1)])
    assert "rose" not in steered_away
    assert steered_away[0] == "cherry"


def test_several_pictures_count_together(shop):
    red, blue = (Image.new("RGB", (32, 32), colour) for colour in (RED, BLUE))
    assert found(examples=[Example(image=red), Example(image=blue)])[0] == "flag"
    assert found(examples=[Example(image=red), Example(image=blue, weight=-1)])[0] in ("rose", "cherry")


def test_the_part_of_a_picture_is_what_is_searched_with(shop):
    assert found(examples=[Example(image=CORNER)])[0] == "sea"
    assert found(examples=[Example(image=CORNER, box=Box(x=0, y=0, width=0.25, height=0.25))])[0] == "leaf"


def test_pages_of_a_steered_search_are_parts_of_one_list(shop):
    asked = {"text": "red", "examples": [like(shop["leaf"], -1)]}
    assert found(**asked, limit=2) + found(**asked, limit=2, offset=2) == found(**asked)


def test_an_example_that_the_shop_no_longer_shows_does_not_count(shop):
    Product.objects.filter(title="sea").update(published=False)
    assert found(examples=[like(shop["rose"]), like(shop["sea"])])[0] == "cherry"
    assert found(examples=[like(shop["sea"])]) == []


@pytest.mark.parametrize(
    ("examples", "sentence"),
    [
        ([Example(product=1)] * (MAX_EXAMPLES + 1), "at most 5"),
        ([Example()], "either"),
        ([Example(product=1, image_id=1)], "either"),
        ([Example(product=1, weight=0)], "weight"),
        ([Example(product=1, weight=1.5)], "weight"),
        ([Example(product=1, weight=float("nan"))], "weight"),
        ([Example(product=1, box=Box(x=0, y=0, width=1, height=1))], "box"),
        ([Example(product=1, weight=-1)], "what you look for"),
    ],
)
def test_what_is_wrong_with_examples_is_said(db, examples, sentence):
    with pytest.raises(QueryError, match=sentence):
        answer(SearchRequest(examples=examples))


def test_nothing_at_all_is_an_empty_query(db):
    with pytest.raises(EmptyQuery):
        answer(SearchRequest())


def test_no_reranker_undoes_what_it_was_not_told(shop, monkeypatch):
    asked = []
    monkeypatch.setattr(reranking, "request", lambda index, answered: asked.append(answered.request))
    for request in (
        SearchRequest(text="red", wants_rerank=True),
        SearchRequest(text="red", examples=[like(shop["sea"], -1)], wants_rerank=True),
    ):
        answer(request)
    assert [each.examples for each in asked] == [()]


# The REST API


def api(client, **parameters):
    return client.get(reverse("shopsearch:api-search"), parameters)


def titles(response):
    assert response.status_code == 200, response.content
    return [each["product"]["title"] for each in response.json()["results"]]


def test_the_api_takes_products_by_address_and_by_object(client, shop):
    asked = {"like": [shop["flag"].pk], "unlike": [shop["sea"].pk]}
    expected = found(examples=[like(shop["flag"]), like(shop["sea"], -1)])
    assert titles(api(client, **asked)) == expected
    url = reverse("shopsearch:api-search")
    assert titles(client.post(url, asked, content_type="application/json")) == expected
    examples = [{"product": shop["flag"].pk}, {"product": str(shop["sea"].pk), "weight": -1}]
    assert titles(client.post(url, {"examples": examples}, content_type="application/json")) == expected
    assert titles(api(client, examples=json.dumps(examples))) == expected
    image = ProductImage.objects.get(product=shop["flag"])
    assert titles(api(client, examples=json.dumps([{"image_id": image.pk}]))) == found(
        examples=[like(shop["flag"])]
    )


def test_the_next_page_of_steered_results_has_an_address(client, shop):
    examples = [{"product": shop["flag"].pk}, {"product": shop["sea"].pk, "weight": -0.5}]
    body = {"examples": examples, "limit": 2}
    first = client.post(reverse("shopsearch:api-search"), body, content_type="application/json")
    following = client.get(first.json()["next"])
    whole = found(examples=[like(shop["flag"]), like(shop["sea"], -0.5)])
    assert titles(first) + titles(following) == whole


def test_the_api_cuts_the_part_of_a_picture(client, shop):
    def post(**fields):
        picture = SimpleUploadedFile("picture.png", file_of(CORNER), "image/png")
        return client.post(reverse("shopsearch:api-search"), {"image": picture, **fields})

    assert titles(post())[0] == "sea"
    assert titles(post(box="0,0,0.25,0.25"))[0] == "leaf"
    refused = post(box="0,0,2,2")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    assert "within it" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"examples": "x"}, "list of objects"),
        ({"examples": "[" * 100_000}, "list of objects"),
        ({"examples": '[{"product": 1, "colour": 2}]'}, "colour"),
        ({"examples": '[{"product": [1]}]'}, "ids"),
        ({"examples": '[{"product": 1, "weight": "1"}]'}, "weight"),
        ({"examples": '[{"product": 1, "weight": NaN}]'}, "weight"),
        ({"examples": '[{"product": 1, "weight": 1e999}]'}, "weight"),
        ({"examples": f'[{{"product": 1, "weight": -{10**400}}}]'}, "weight"),
        ({"like": ["1"] * 6}, "at most 5"),
        ({"unlike": "1"}, "what you look for"),
        ({"q": "red", "box": "0,0,1,1"}, "send the picture"),
    ],
)
def test_the_api_says_what_is_wrong_with_them(client, shop, parameters, sentence):
    response = api(client, **parameters)
    assert response.status_code == 400
    assert sentence in response.json()["detail"]


@pytest.mark.usefixtures("shop")
def test_five_examples_are_read_with_as_many_queries_as_one():
    keys = list(ProductImage.objects.values_list("product_id", "pk"))[:5]

    def queries(examples):
        with CaptureQueriesContext(connection) as captured:
            answer(SearchRequest(examples=examples, limit=1))
        return len(captured)

    queries([Example(product=keys[0][0])])  # rules and synonyms are read once
    mixed = [
        Example(product=product, weight=weight) if weight > 0 else Example(image_id=image, weight=weight)
        for (product, image), weight in zip(keys, (1, -1, 0.5, -0.5, 1), strict=False)
    ]
    assert queries(mixed) == queries([Example(product=keys[0][0])])
