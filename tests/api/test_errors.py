"""What /api/search/ refuses, and how it says so."""

import json

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import translation
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shopsearch.exceptions import EmbedderError, ImageTooLarge, VectorStoreError
from shopsearch.images import sandbox
from shopsearch.testing import ColourEmbedder, MemoryStore
from tests.shop.pictures import RED, picture, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db

URL = "/api/search/"


@pytest.fixture(autouse=True)
def _an_empty_store_and_no_throttle(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    cache.clear()


@pytest.fixture
def change(settings):
    def change(**changed):
        settings.SHOPSEARCH = {**settings.SHOPSEARCH, **changed}

    return change


def upload(**options):
    return SimpleUploadedFile("query.png", picture(**options).read(), "image/png")


def get(client, **parameters):
    return client.get(URL, parameters)


def refused(response, code, *words):
    assert response.status_code == 400, response.content
    answer = response.json()
    assert set(answer) == {"code", "detail"}
    assert answer["code"] == code
    assert answer["detail"].endswith(".")
    for word in words:
        assert word in answer["detail"]


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
        "shopsearch.api.views.MultiPartParser.parse", lambda *args, **kw: pytest.fail("it was read")
    )
    refused(client.post(URL, {"image": SimpleUploadedFile("a.png", bytes(300_000))}), "image_too_large", "KB")


def test_a_large_body_that_is_no_picture_is_refused_before_it_is_read(client):
    body = json.dumps({"q": "red", "category": ["x" * 300_000]})
    refused(client.post(URL, body, content_type="application/json"), "image_too_large", "256 KB")


def test_a_length_that_no_file_has_is_refused_before_the_body_is_read(client):
    """Longer than the largest number that is written with an exponent, too."""
    for length in ("9" * 20, "9" * 400):
        response = client.post(URL, {"image": SimpleUploadedFile("a.png", b"")}, CONTENT_LENGTH=length)
        refused(response, "image_too_large", "KB")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"[1]", b'"red"', b"null", b"NaN", b'{"q": NaN}', b"[" * 100_000, b"\xff\xfe\x00"],
)
def test_json_that_is_no_object_of_parameters(client, body):
    response = client.post(URL, body, content_type="application/json")
    assert response.status_code == 400
    assert set(response.json()) == {"code", "detail"}


@pytest.mark.parametrize("value", [{"a": 1}, {"a": "\ud800"}, [["mugs"]], [{"a": 1}]])
@pytest.mark.parametrize("name", ["q", "category", "price__lte", "limit"])
def test_values_that_are_nested(client, name, value):
    body = json.dumps({"q": "red", name: value})
    refused(client.post(URL, body, content_type="application/json"), "invalid", "nothing nested")


@pytest.mark.parametrize("length", ["many", "9" * 5000])
def test_a_length_that_is_none_is_that_of_an_empty_request(client, length):
    refused(client.post(URL, {"q": "red"}, CONTENT_LENGTH=length), "empty_query", "words")


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
    product(RED)
    index_everything()

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
    product(RED)
    index_everything()
    monkeypatch.setattr(MemoryStore, "search", lambda *args, **kwargs: 1 / 0)
    client.raise_request_exception = False
    assert get(client, q="red").status_code == 500


def test_who_asks_too_often_is_told_when_to_come_again(client, change):
    change(THROTTLE_RATE="2/day")
    assert [get(client, q="red").status_code for _ in range(2)] == [200, 200]
    response = get(client, q="red")
    assert response.status_code == 429
    assert response.json()["code"] == "throttled"
    assert 0 < int(response["Retry-After"]) <= 86_400
    assert client.get(URL, {"q": "red"}, REMOTE_ADDR="10.0.0.9").status_code == 200


NAMES = st.sampled_from(
    ["q", "limit", "offset", "index", "rerank", "image", "category", "price__gte", "x", "page"]
)


@given(st.dictionaries(NAMES, st.one_of(st.text(max_size=20), st.integers().map(str)), max_size=5))
@hypothesis_settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_whatever_is_asked_is_answered_or_refused(client, parameters):
    for response in (
        client.get(URL, {k: v.encode("utf-8", "replace") for k, v in parameters.items()}),
        client.post(URL, json.dumps(parameters), content_type="application/json"),
    ):
        assert response.status_code in (200, 400)
        assert set(response.json()) >= ({"results"} if response.status_code == 200 else {"code", "detail"})


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"q": "mug", "limit": "many"},
        {"q": "mug", "limit": "0"},
        {"q": "mug", "offset": "-1"},
        {"q": "mug", "sort": "taste"},
        {"q": "mug", "colour": "red"},
        {"q": "mug", "price__gte": "cheap"},
        {"q": "mug", "facets": "taste"},
        {"q": "mug", "rerank": "perhaps"},
        {"q": ["mug", "cup"]},
        {"q": "mug", "examples": "like this"},
        {"q": "mug", "examples": '[{"product": "1", "weight": 7}]'},
        {"q": "mug", "index": "elsewhere"},
    ],
    ids=str,
)
def test_a_refusal_is_in_the_language_of_the_page(client, parameters):
    english = get(client, **parameters)
    with translation.override("es"):
        spanish = get(client, **parameters)
    assert english.status_code == spanish.status_code == 400
    assert english.json()["code"] == spanish.json()["code"]
    assert english.json()["detail"] != spanish.json()["detail"]


@pytest.mark.parametrize(
    "content", [b"", b"no picture", picture().read()[:-400]], ids=["empty", "text", "cut"]
)
def test_a_refused_picture_is_refused_in_the_language_of_the_page(client, content):
    with translation.override("es"):
        answer = client.post(URL, {"image": SimpleUploadedFile("a.png", content)}).json()
    assert answer["detail"].startswith(("El archivo", "La imagen"))


def test_a_process_that_decodes_hands_on_what_is_wrong_and_this_one_says_it_in_its_language(change):
    change(MAX_IMAGE_PIXELS=100)
    with translation.override("es"), pytest.raises(ImageTooLarge, match="millones de píxeles"):
        sandbox.decode(picture().read(), ["PNG"])
