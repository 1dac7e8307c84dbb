"""GET and POST /api/search/, over the stand-ins that truly see colour."""

import io
import json
from pathlib import Path
from tempfile import gettempdir
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from shopsearch import indexing
from shopsearch.exceptions import EmbedderError, VectorStoreError
from shopsearch.models import ProductImage
from shopsearch.testing import ColourEmbedder, MemoryStore
from shopsearch.views import SearchView
from tests.shop.models import Artwork, Category, Product

pytestmark = pytest.mark.django_db

URL = "/api/search/"
RED, GREEN, BLUE = (220, 30, 30), (30, 160, 60), (40, 60, 210)


def picture(colour, kind="PNG", size=(32, 32)):
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, kind)
    return content.getvalue()


def upload(colour=RED, **options):
    return SimpleUploadedFile("query.png", picture(colour, **options), "image/png")


def product(title, *colours, **fields):
    made = Product.objects.create(title=title, **fields)
    for colour in colours:
        ProductImage.objects.create(product=made, image=ContentFile(picture(colour), "picture.png"))
    return made


@pytest.fixture(autouse=True)
def _an_empty_store_and_no_throttle(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    cache.clear()


@pytest.fixture
def change(settings):
    def change(**changed):
        settings.SHOPSEARCH = {**settings.SHOPSEARCH, **changed}

    return change


@pytest.fixture
def shop():
    mugs = Category.objects.create(name="mugs")
    product("red mug", RED, category=mugs, price=8)
    product("green mug", GREEN, category=mugs, price=12, in_stock=False, tags=["gift", "tea"])
    product("blue plate", BLUE, price=20, tags=["gift"])
    list(indexing.index_pending())


def get(client, **parameters):
    return client.get(URL, parameters)


def titles(response):
    assert response.status_code == 200, response.content
    return [result["product"]["title"] for result in response.json()["results"]]


def refused(response, code, *words):
    assert response.status_code == 400, response.content
    answer = response.json()
    assert set(answer) == {"code", "detail"}
    assert answer["code"] == code
    assert answer["detail"].endswith(".")
    for word in words:
        assert word in answer["detail"]


@pytest.mark.usefixtures("shop")
def test_words_find_the_product_that_looks_like_them(client):
    response = get(client, q="red", limit=1)
    answer = response.json()
    image = ProductImage.objects.get(product__title="red mug")
    score = answer["results"][0]["score"]
    assert answer == {
        "query": {"kind": "text", "text": "red", "filters": {}},
        "results": [
            {
                "rank": 1,
                "score": score,
                "product": {
                    "id": image.product_id,
                    "title": "red mug",
                    "url": f"http://testserver/products/{image.product_id}/",
                    "image": f"http://testserver{image.image.url}",
                },
                "image_id": str(image.pk),
            }
        ],
        "count": 1,
        "next": "http://testserver/api/search/?q=red&limit=1&offset=1",
        "previous": None,
        "rerank": None,
    }
    assert score == round(score, 4)
    assert 0 < score <= 1


@pytest.mark.usefixtures("shop")
def test_a_picture_finds_the_product_that_looks_like_it(client):
    response = client.post(URL, {"image": upload(GREEN)})
    assert titles(response)[0] == "green mug"
    assert response.json()["query"] == {"kind": "image", "text": "", "filters": {}}


@pytest.mark.usefixtures("shop")
def test_words_and_a_picture_are_a_composed_query(client):
    response = client.post(URL, {"image": upload(RED), "q": "blue"})
    assert set(titles(response)[:2]) == {"red mug", "blue plate"}
    assert response.json()["query"]["kind"] == "composed"


@pytest.mark.usefixtures("shop")
def test_words_may_be_posted_as_a_form_or_as_json(client):
    by_form = client.post(URL, {"q": "red", "category": "mugs"})
    by_json = client.post(URL, {"q": "red", "category": ["mugs"]}, content_type="application/json")
    assert titles(by_form) == titles(by_json) == ["red mug", "green mug"]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("category=mugs", ["red mug", "green mug"]),
        ("price__lte=12", ["red mug", "green mug"]),
        ("price__gte=9&price__lte=12", ["green mug"]),
        ("in_stock=true", ["red mug", "blue plate"]),
        ("tags=tea&tags=gift", ["green mug", "blue plate"]),
        ("category=mugs&in_stock=no", ["green mug"]),
        ("category=", ["red mug", "green mug", "blue plate"]),
        ("category=no+such", []),
    ],
)
def test_filters_narrow_the_search_by_address_and_by_form(client, query, found):
    by_address = client.get(f"{URL}?q=red&{query}")
    by_form = client.post(URL, {"q": "red", **parse_qs(query, keep_blank_values=True)})
    assert set(titles(by_address)) == set(titles(by_form)) == set(found)


@pytest.mark.usefixtures("shop")
def test_the_filters_asked_for_are_told(client):
    answer = client.get(f"{URL}?q=red&tags=tea&tags=gift&price__lte=12&category=").json()
    assert answer["query"]["filters"] == {"tags": ["tea", "gift"], "price__lte": ["12"]}


def test_a_filter_value_is_never_an_expression(client):
    product("red", RED)
    list(indexing.index_pending())
    assert titles(get(client, q="red", category='x" or 1 == 1 or category == "')) == []


def follow(client, response):
    """The ranks and titles of this page and all that follow."""
    while True:
        answer = response.json()
        yield from ((result["rank"], result["product"]["title"]) for result in answer["results"])
        assert answer["count"] == len(answer["results"])
        if answer["next"] is None:
            return
        response = client.get(answer["next"])


@pytest.mark.parametrize("limit", [1, 3, 7, 50])
def test_pages_neither_overlap_nor_leave_out(client, limit):
    for number in range(11):
        product(f"mug {number}", (200, 20 * number, 20), (20 * number, 20, 200))
    list(indexing.index_pending())
    found = list(follow(client, get(client, q="red", limit=limit)))
    assert [rank for rank, _ in found] == list(range(1, 12))
    assert sorted(title for _, title in found) == sorted(f"mug {number}" for number in range(11))


@pytest.mark.usefixtures("shop")
def test_the_pages_of_a_search_by_picture_are_had_by_posting_it_again(client):
    form = {"q": "mug", "limit": 1, "offset": 0, "category": "mugs"}
    first = client.post(URL, {**form, "image": upload(GREEN)})
    second = client.post(first.json()["next"], {**form, "image": upload(GREEN)})
    only_the_picture = client.post(first.json()["next"], {"image": upload(GREEN)})
    assert titles(first) + titles(second) == ["green mug", "red mug"]
    assert second.json() == only_the_picture.json()
    assert second.json()["results"][0]["rank"] == 2
    assert second.json()["next"] is None


@pytest.mark.usefixtures("shop")
def test_the_page_before_is_named(client):
    answer = client.get(f"{URL}?q=red&limit=2&offset=2&category=mugs&category=").json()
    assert answer["results"] == []
    assert parse_qs(urlsplit(answer["previous"]).query) == {
        "q": ["red"],
        "limit": ["2"],
        "offset": ["0"],
        "category": ["mugs"],
    }


def test_several_images_of_a_product_give_one_result(client):
    product("red mug", RED, (200, 20, 20), (240, 40, 40))
    product("blue mug", BLUE)
    list(indexing.index_pending())
    assert titles(get(client, q="red")) == ["red mug", "blue mug"]


@pytest.mark.usefixtures("shop")
def test_a_hidden_product_is_in_no_answer(client):
    Product.objects.filter(title="red mug").update(published=False)  # no signal: the store still has it
    assert "red mug" not in titles(get(client, q="red"))
    assert "red mug" not in titles(client.post(URL, {"image": upload(RED)}))


def test_another_index_is_searched_by_its_name(client):
    Artwork.objects.create(code="sunset", original=ContentFile(picture(RED), "sunset.png"))
    list(indexing.index_pending())
    answer = get(client, q="red", index="shop_artwork").json()
    assert answer["results"][0]["product"]["id"] == "sunset"
    assert answer["results"][0]["image_id"] == "sunset"
    assert answer["results"][0]["product"]["url"] == ""


@pytest.mark.usefixtures("shop")
def test_rerank_is_accepted_and_null(client):
    assert get(client, q="red", rerank="true").json()["rerank"] is None


def test_an_empty_shop_answers_with_nothing(client):
    answer = get(client, q="red").json()
    assert (answer["results"], answer["count"], answer["next"]) == ([], 0, None)


# What is refused, and how.


@pytest.mark.parametrize("parameters", [{}, {"q": ""}, {"q": "  "}, {"q": "", "image": ""}])
def test_neither_words_nor_a_picture(client, parameters):
    refused(get(client, **parameters), "empty_query", "add a picture")
    refused(client.post(URL, parameters), "empty_query", "add a picture")


def test_an_unknown_filter_is_told_the_filters_that_there_are(client):
    refused(
        get(client, q="red", colour="red"), "invalid_filter", "'colour'", "category, in_stock, price, tags"
    )
    refused(client.post(URL, {"q": "red", "brand": "x"}), "invalid_filter", "'brand'")


def test_a_filter_value_of_the_wrong_type(client):
    refused(get(client, q="red", price__lte="cheap"), "invalid_filter", "'price'", "number", "'cheap'")
    refused(get(client, q="red", in_stock="perhaps"), "invalid_filter", "true or false")


@pytest.mark.parametrize("limit", ["0", "-1", "101", "many", "1.5", "9" * 5000, "1e9"])
def test_a_bad_limit(client, limit):
    refused(get(client, q="red", limit=limit), "invalid", "limit")


@pytest.mark.parametrize("offset", ["-1", "1000", "far", "9" * 30])
def test_a_bad_offset(client, offset):
    refused(get(client, q="red", offset=offset), "invalid", "offset")


def test_an_unknown_index(client):
    refused(get(client, q="red", index="shoes"), "invalid", "'shoes'", "shop_artwork")


def test_a_text_that_is_too_long(client):
    refused(get(client, q="red " * 300), "invalid", "at most 1000 characters")


def test_a_file_that_is_no_picture(client):
    response = client.post(URL, {"image": SimpleUploadedFile("cat.jpg", b"meow")})
    refused(response, "image_unreadable", "use a JPEG, PNG, WebP or GIF file")


def test_an_empty_file(client):
    refused(client.post(URL, {"image": SimpleUploadedFile("cat.jpg", b"")}), "image_unreadable", "empty")


def test_a_picture_that_is_not_a_file(client):
    refused(client.post(URL, {"image": "cat.jpg"}), "invalid", "multipart form")
    refused(get(client, q="red", image="cat.jpg"), "invalid", "multipart form")


def test_a_picture_of_too_many_bytes(client, change):
    change(MAX_IMAGE_BYTES=1000)
    refused(
        client.post(URL, {"image": SimpleUploadedFile("a.png", bytes(1001))}), "image_too_large", "smaller"
    )


def test_a_picture_of_too_many_pixels(client, change):
    change(MAX_IMAGE_PIXELS=10_000)
    refused(client.post(URL, {"image": upload(size=(200, 200))}), "image_too_large", "pixels", "smaller")


def test_a_body_of_too_many_bytes_is_refused_before_it_is_read(client, change, monkeypatch):
    change(MAX_IMAGE_BYTES=1000)
    monkeypatch.setattr(
        "shopsearch.views.MultiPartParser.parse", lambda *args, **kw: pytest.fail("it was read")
    )
    refused(client.post(URL, {"image": SimpleUploadedFile("a.png", bytes(300_000))}), "image_too_large", "KB")


def test_a_large_body_that_is_no_picture_is_refused_before_it_is_read(client):
    body = json.dumps({"q": "red", "category": ["x" * 300_000]})
    refused(client.post(URL, body, content_type="application/json"), "image_too_large", "256 KB")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"[1]", b'"red"', b"null", b"NaN", b'{"q": NaN}', b"[" * 100_000, b"\xff\xfe\x00"],
)
def test_json_that_is_no_object_of_parameters(client, body):
    response = client.post(URL, body, content_type="application/json")
    assert response.status_code == 400
    assert set(response.json()) == {"code", "detail"}


@pytest.mark.parametrize("text", ["red\0mug", "\ud800", "mug \udfff"])
def test_characters_that_are_no_text(client, text):
    for body in ({"q": text}, {"q": "red", "category": text}, {"q": "red", text: "x"}):
        refused(client.post(URL, json.dumps(body), content_type="application/json"), "invalid", "not text")
    refused(client.get(URL + "?q=red%00mug"), "invalid", "not text")


def test_bytes_that_are_no_utf_8_are_searched_as_best_they_can(client):
    assert client.get(URL + "?q=red%ff%ed%a0%80").status_code == 200


def test_a_form_that_is_none(client):
    response = client.post(URL, b"nothing", content_type="multipart/form-data")
    assert response.status_code == 400
    assert response.json()["code"] == "parse_error"


def test_a_form_of_too_many_fields(client):
    refused(client.post(URL, {f"a{number}": "x" for number in range(1100)}), "invalid", "send fewer")


@pytest.mark.parametrize(
    ("request_it", "status", "code"),
    [
        (lambda client: client.delete(URL), 405, "method_not_allowed"),
        (lambda client: client.post(URL, b"red", content_type="text/plain"), 415, "unsupported_media_type"),
        (lambda client: client.get(URL + "?q=red&format=xml"), 404, "not_found"),
    ],
)
def test_what_http_refuses_is_said_in_the_same_form(client, request_it, status, code):
    response = request_it(client)
    assert response.status_code == status
    assert set(response.json()) == {"code", "detail"}
    assert response.json()["code"] == code


@pytest.mark.parametrize(
    ("place", "error", "code"),
    [
        (MemoryStore, VectorStoreError("no connection to milvus.internal:19530"), "vector_store_unavailable"),
        (ColourEmbedder, EmbedderError("cannot load /srv/model"), "embedder_unavailable"),
    ],
)
def test_a_backend_that_is_away_is_a_503_that_says_when_to_come_again(
    client, monkeypatch, place, error, code
):
    def away(*args, **kwargs):
        raise error

    monkeypatch.setattr(place, "search" if place is MemoryStore else "embed", away)
    for response in (get(client, q="red"), client.post(URL, {"image": upload()})):
        assert response.status_code == 503
        assert response["Retry-After"] == "5"
        assert response["Cache-Control"] == "no-store"
        assert response.json() == {
            "code": code,
            "detail": "Search is away for the moment; try again shortly.",
        }


def test_a_mistake_of_ours_is_not_told_as_the_callers(client, monkeypatch):
    monkeypatch.setattr(MemoryStore, "search", lambda *args, **kwargs: 1 / 0)
    client.raise_request_exception = False
    assert get(client, q="red").status_code == 500


def test_who_asks_too_often_is_told_when_to_come_again(client, change):
    change(THROTTLE_RATE="2/min")
    assert [get(client, q="red").status_code for _ in range(2)] == [200, 200]
    response = get(client, q="red")
    assert response.status_code == 429
    assert response.json()["code"] == "throttled"
    assert 0 < int(response["Retry-After"]) <= 60
    assert client.get(URL, {"q": "red"}, REMOTE_ADDR="10.0.0.9").status_code == 200


def test_without_a_rate_nobody_is_throttled(client):
    assert {get(client, q="red").status_code for _ in range(5)} == {200}


def test_a_foreign_page_needs_no_token_because_no_session_is_looked_at(admin_user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(URL, {"q": "red"}).status_code == 200
    assert SearchView.authentication_classes == ()


def test_only_an_answer_to_words_may_be_kept_and_not_by_others(client):
    assert get(client, q="red")["Cache-Control"] == "private, max-age=30"
    assert client.post(URL, {"q": "red"})["Cache-Control"] == "no-store"
    assert get(client)["Cache-Control"] == "no-store"


def test_a_shoppers_picture_is_not_kept(client, settings):
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0  # every upload goes to a file
    before = set(Path(gettempdir()).glob("*.upload*"))
    media = set(Path(settings.MEDIA_ROOT).rglob("*"))
    assert client.post(URL, {"image": upload()}).status_code == 200
    assert client.post(URL, {"image": SimpleUploadedFile("a.png", b"broken")}).status_code == 400
    assert set(Path(gettempdir()).glob("*.upload*")) == before
    assert set(Path(settings.MEDIA_ROOT).rglob("*")) == media


def test_more_results_take_no_more_database_queries(client, django_assert_num_queries):
    for number in range(12):
        product(f"mug {number}", (200, 20 * number, 20), category=Category.objects.create(name=str(number)))
    list(indexing.index_pending())
    with django_assert_num_queries(1):
        assert len(titles(get(client, q="red", limit=2))) == 2
    with django_assert_num_queries(1):
        assert len(titles(get(client, q="red", limit=12))) == 12


NAMES = st.sampled_from(
    ["q", "limit", "offset", "index", "rerank", "image", "category", "price__gte", "x", "page"]
)


@given(st.dictionaries(NAMES, st.one_of(st.text(max_size=20), st.integers().map(str)), max_size=5))
@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_asked_is_answered_or_refused(client, parameters):
    for response in (
        client.get(URL, {k: v.encode("utf-8", "replace") for k, v in parameters.items()}),
        client.post(URL, json.dumps(parameters), content_type="application/json"),
    ):
        assert response.status_code in (200, 400)
        assert set(response.json()) >= ({"results"} if response.status_code == 200 else {"code", "detail"})
