"""GET and POST /api/search/, over the stand-ins that truly see colour."""

from pathlib import Path
from tempfile import gettempdir
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from shopsearch.api.views import SearchView
from shopsearch.indexing import batch
from shopsearch.models import ProductImage
from tests.shop.models import Artwork, Category, Product
from tests.shop.pictures import BLUE, GREEN, RED, picture, product

pytestmark = pytest.mark.django_db

URL = "/api/search/"


def upload(colour=RED):
    return SimpleUploadedFile("query.png", picture(colour).read(), "image/png")


@pytest.fixture(autouse=True)
def _an_empty_store_and_no_throttle(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    cache.clear()


@pytest.fixture
def shop():
    mugs = Category.objects.create(name="mugs")
    product(RED, title="red mug", category=mugs, price=8)
    product(GREEN, title="green mug", category=mugs, price=12, in_stock=False, tags=["gift", "tea"])
    product(BLUE, title="blue plate", price=20, tags=["gift"])
    list(batch.index_pending())


def get(client, **parameters):
    return client.get(URL, parameters)


def titles(response):
    assert response.status_code == 200, response.content
    return [result["product"]["title"] for result in response.json()["results"]]


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
        "match": "unknown",
        "weak_below": None,
        "retrieval": "vectors",
        "corrected": None,
        "rules": [],
        "banner": None,
        "redirect": None,
        "total": None,
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
    product(RED, title="red")
    list(batch.index_pending())
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
        product((200, 20 * number, 20), (20 * number, 20, 200), title=f"mug {number}")
    list(batch.index_pending())
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
    product(RED, (200, 20, 20), (240, 40, 40), title="red mug")
    product(BLUE, title="blue mug")
    list(batch.index_pending())
    assert titles(get(client, q="red")) == ["red mug", "blue mug"]


@pytest.mark.usefixtures("shop")
def test_a_hidden_product_is_in_no_answer(client):
    Product.objects.filter(title="red mug").update(published=False)  # no signal: the store still has it
    assert "red mug" not in titles(get(client, q="red"))
    assert "red mug" not in titles(client.post(URL, {"image": upload(RED)}))


def test_another_index_is_searched_by_its_name(client):
    Artwork.objects.create(code="sunset", original=picture(RED, "sunset.png"))
    list(batch.index_pending())
    answer = get(client, q="red", index="shop_artwork").json()
    assert answer["results"][0]["product"]["id"] == "sunset"
    assert answer["results"][0]["image_id"] == "sunset"
    assert answer["results"][0]["product"]["url"] == ""


@pytest.mark.usefixtures("shop")
def test_a_better_order_is_promised_only_when_it_is_asked_for(client):
    product(RED, title="red mug")
    product(BLUE, title="blue mug")
    list(batch.index_pending())
    assert get(client, q="red").json()["rerank"] is None
    rerank = get(client, q="red", rerank="true").json()["rerank"]
    assert rerank["state"] == "queued"
    assert rerank["url"].endswith(f"/api/reranks/{rerank['id']}/")
    assert rerank["events_url"] is None


def test_an_empty_shop_answers_with_nothing(client):
    answer = get(client, q="red").json()
    assert (answer["results"], answer["count"], answer["next"]) == ([], 0, None)


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
        product(
            (200, 20 * number, 20), title=f"mug {number}", category=Category.objects.create(name=str(number))
        )
    list(batch.index_pending())
    get(client, q="green")  # calibrations are read once in a while
    with django_assert_num_queries(3):  # which collection answers, what is shown, and the page
        assert len(titles(get(client, q="red", limit=2))) == 2
    with django_assert_num_queries(3):
        assert len(titles(get(client, q="red", limit=12))) == 12
