"""The search page without a browser: what the server renders, under which status."""

import io
import re

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image
from rest_framework.exceptions import Throttled

from shopsearch import registry
from shopsearch.api import access
from shopsearch.exceptions import Busy, ImageTooLarge, VectorStoreError
from shopsearch.indexing import batch
from shopsearch.models import ProductImage
from shopsearch.testing import MemoryStore
from tests.shop.models import Category, Product
from tests.shop.pictures import RED, product
from tests.shop.store import index_everything
from tests.storefront.test_widget import Elements

pytestmark = pytest.mark.django_db

FRAGMENT = {"X-Shopsearch-Fragment": "results"}
COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 210)}


def picture(colour, name="picture.png"):
    content = io.BytesIO()
    Image.new("RGB", (32, 32), COLOURS[colour]).save(content, "PNG")
    return SimpleUploadedFile(name, content.getvalue(), "image/png")


@pytest.fixture(autouse=True)
def _small_pages(settings):
    cache.clear()
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "PAGE_SIZE": 4, "MAX_PAGE_SIZE": 12, "THROTTLE_RATE": None}


@pytest.fixture
def shop():
    mugs = Category.objects.create(name="mugs")
    for number in range(18):
        colour = list(COLOURS)[number % 3]
        product = Product.objects.create(
            title=f"{colour} thing {number}", category=mugs, price=number, in_stock=number % 2 == 0
        )
        ProductImage.objects.create(product=product, image=ContentFile(picture(colour).read(), "thing.png"))
    list(batch.index_pending())


def elements(response):
    return Elements(response.content.decode())


def titles(response):
    return [card.product["title"] for card in response.context["search"].cards]


def test_the_start_page_says_what_can_be_done(client):
    response = client.get("/search/")
    assert response.status_code == 200
    assert b"Search by words, by a picture, or by both" in response.content


@pytest.mark.usefixtures("shop")
def test_words_in_the_address_find_cards_and_stay_in_the_box(client):
    response = client.get("/search/", {"q": "red"})
    assert titles(response)[0].startswith("red")
    assert len(titles(response)) == 4
    assert elements(response).all("input", name="q", value="red")
    cell = elements(response).all("li", **{"class": "shopsearch-grid__cell"})[0]
    assert cell["data-product-id"]
    assert cell["data-image-id"]


@pytest.mark.usefixtures("shop")
def test_more_results_are_a_link_to_an_address(client):
    first = client.get("/search/", {"q": "red", "in_stock": "true"})
    [link] = elements(first).all("a", **{"data-shopsearch-more": None})
    second = client.get(link["href"])
    assert titles(second)
    assert not set(titles(first)) & set(titles(second))
    assert all(int(title.split()[-1]) % 2 == 0 for title in titles(first) + titles(second))


@pytest.mark.usefixtures("shop")
def test_a_posted_picture_finds_what_looks_like_it_and_shows_more_at_once_to_a_browser_without_script(client):
    response = client.post("/search/", {"q": "", "image": picture("green")})
    assert response.status_code == 200
    assert all(title.startswith("green") for title in titles(response)[:6])
    assert len(titles(response)) == 12
    assert not elements(response).all("a", **{"data-shopsearch-more": None})


@pytest.mark.usefixtures("shop")
def test_the_script_gets_the_results_alone_and_a_page_of_usual_size(client):
    response = client.post("/search/?q=&picture=1", {"image": picture("green")}, headers=FRAGMENT)
    assert b"<html" not in response.content
    assert len(titles(response)) == 4
    [link] = elements(response).all("a", **{"data-shopsearch-more": None})
    assert "picture=1" in link["href"]


def test_no_cache_may_take_the_results_alone_for_the_page(client):
    assert "X-Shopsearch-Fragment" in client.get("/search/", {"q": "red"})["Vary"]


@pytest.mark.usefixtures("shop")
def test_posted_words_become_an_address(client):
    response = client.post("/search/", {"q": "red mug", "in_stock": "true", "index": "", "image": ""})
    assert response.status_code == 303
    assert response["Location"] == "/search/?q=red+mug&in_stock=true"


def test_a_search_may_be_posted_without_a_token_for_it_changes_nothing():
    client = Client(enforce_csrf_checks=True)
    assert client.post("/search/", {"image": picture("red")}).status_code == 200


def test_an_address_that_names_a_picture_waits_for_the_script_to_post_it(client):
    response = client.get("/search/?q=mug&picture=1700000000000")
    assert response.status_code == 200
    assert not titles(response)
    assert b"needs its picture again" in response.content
    assert elements(response).all("a", href="/search/?q=mug")


@pytest.mark.usefixtures("shop")
def test_a_picture_of_the_shop_finds_products_like_it_but_not_itself(client):
    image = ProductImage.objects.get(product__title="blue thing 2")
    response = client.get("/search/", {"similar": image.pk})
    assert titles(response)[0].startswith("blue")
    assert "blue thing 2" not in titles(response)
    assert elements(response).all("input", name="similar", value=str(image.pk))


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("given", ["999999", "x", "-1", "9" * 40, "1 OR 1=1", "\x00"])
def test_only_pictures_that_the_shop_shows_can_be_searched_with(client, given):
    hidden = ProductImage.objects.get(product__title="blue thing 2")
    Product.objects.filter(pk=hidden.product_id).update(published=False)
    for value in (given, hidden.pk):
        response = client.get("/search/", {"similar": value})
        assert response.status_code == 400
        assert b"no longer in the shop" in response.content


@pytest.mark.usefixtures("shop")
def test_a_picture_that_belongs_to_no_product_any_more_is_a_sentence(client, monkeypatch):
    image = ProductImage.objects.first()
    monkeypatch.setattr(registry.ImageIndex, "get_product", lambda self, image: None)
    response = client.get("/search/", {"similar": image.pk})
    assert response.status_code == 400
    assert b"no longer in the shop" in response.content


def test_a_text_key_is_never_asked_for_with_a_nul_which_postgresql_refuses(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert client.get("/search/?index=shop_artwork&similar=%00").status_code == 400


@pytest.mark.usefixtures("shop")
def test_filters_narrow_the_results_and_show_in_the_form(client):
    response = client.get("/search/", {"q": "red", "price__gte": "3", "price__lte": "9", "category": "mugs"})
    assert {int(title.split()[-1]) for title in titles(response)} <= set(range(3, 10))
    assert len(titles(response)) == 4
    page = elements(response)
    assert page.all("input", name="price__gte", value="3")
    assert page.all("input", name="category", value="mugs", type="hidden")
    assert page.all("a", href="/search/?q=red&price__gte=3&price__lte=9")


@pytest.mark.usefixtures("shop")
def test_what_an_address_carries_beside_a_search_is_left_alone(client):
    assert client.get("/search/", {"q": "red", "utm_source": "letter"}).status_code == 200


@pytest.mark.usefixtures("shop")
def test_filters_that_leave_nothing_offer_to_be_taken_off(client):
    response = client.get("/search/", {"q": "red", "price__gte": "1000"})
    assert response.status_code == 200
    assert elements(response).all("a", href="/search/?q=red")
    assert b"No product passes these filters" in response.content


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("text", ['"><script>alert(1)</script>', "{{ 7|add:7 }}", "<!--", "' onfocus='x"])
@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "results"])
def test_hostile_words_are_shown_as_words(client, text, headers):
    response = client.get("/search/", {"q": text, "category": text}, headers=headers)
    assert b"<script>alert" not in response.content
    assert not [attrs for _, attrs in elements(response).found if "onfocus" in attrs]
    if not headers:
        assert elements(response).all("input", name="q", value=text)


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>.png", "../../etc/passwd", "\u202egnp.exe", "x" * 300]
)
def test_a_hostile_file_name_is_of_no_consequence(client, name):
    response = client.post("/search/", {"image": SimpleUploadedFile(name, b"no picture", "image/png")})
    assert response.status_code == 400
    assert b"onerror" not in response.content


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_picture_is_a_sentence_on_the_page(client, content):
    response = client.post("/search/", {"q": "mug", "image": SimpleUploadedFile("a.png", content)})
    assert response.status_code == 400
    assert elements(response).all("p", role="alert", **{"data-shopsearch-error": None})
    assert elements(response).all("input", name="q", value="mug")


def test_a_picture_that_is_too_large_is_refused_before_it_is_read(client, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_IMAGE_BYTES": 1000}
    response = client.post("/search/", {"image": SimpleUploadedFile("a.png", bytes(600_000))})
    assert response.status_code == 400
    assert b"too large" in response.content


def test_an_upload_that_is_cut_off_is_a_sentence(client):
    response = client.generic("POST", "/search/", b"--x\r\n", "multipart/form-data; boundary=")
    assert response.status_code == 400
    assert b"cut off" in response.content


@pytest.mark.parametrize("offset", ["-1", "x", "٣", "²", "9" * 30, "4000"])
def test_an_offset_that_means_nothing_is_no_error_of_the_server(client, offset):
    assert client.get("/search/", {"q": "red", "offset": offset}).status_code in (200, 400)


def test_an_index_that_the_shop_does_not_have_is_a_sentence(client):
    response = client.get("/search/", {"q": "red", "index": "nonsense"})
    assert response.status_code == 400
    assert b"no such search" in response.content


@pytest.mark.parametrize("headers", [{}, FRAGMENT], ids=["page", "results"])
def test_the_page_and_the_api_count_together_and_too_many_is_a_sentence_and_a_time_to_wait(
    client, settings, headers
):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": "2/day"}
    assert client.get("/search/").status_code == 200  # nothing was searched
    assert client.get("/search/", {"q": "red"}).status_code == 200
    assert client.get("/api/search/", {"q": "red"}).status_code == 200
    refused = client.get("/search/", {"q": "red"}, headers=headers)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 86_400
    assert elements(refused).all("p", role="alert", **{"data-shopsearch-error": None})
    assert b"a lot of searches" in refused.content
    assert client.get("/api/search/", {"q": "red"}).status_code == 429
    assert client.get("/search/", {"q": "red"}, REMOTE_ADDR="192.0.2.7").status_code == 200


@pytest.mark.parametrize(
    "error", [Busy(), Throttled(7), ImageTooLarge()], ids=lambda error: type(error).__name__
)
def test_a_form_that_is_turned_away_unread_keeps_what_the_address_holds_and_says_that_the_rest_is_lost(
    client, monkeypatch, error
):
    def refuse(*args):
        raise error

    monkeypatch.setattr(access, "refuse_unread", refuse)
    form = {"q": "typed", "image": picture("red")}
    response = client.post("/search/?q=held&category=mugs", form)
    page = elements(response)
    assert response.status_code in (400, 429, 503)
    assert page.all("input", name="q", value="held")
    assert b"have not been read. Go back to the page before" in response.content
    assert b"data-shopsearch-wait" not in response.content, "that link would search without what was typed"
    by_script = client.post("/search/?q=held&picture=1", form, headers=FRAGMENT)
    assert b"have not been read" not in by_script.content, "the script has the picture, and posts it again"


def test_a_store_that_is_away_is_a_sentence_and_a_time_to_try_again(client, monkeypatch):
    product(RED)
    index_everything()

    def away(self, *args, **kwargs):
        raise VectorStoreError("connection refused at 10.0.0.7")

    monkeypatch.setattr(MemoryStore, "search", away)
    response = client.get("/search/", {"q": "red"})
    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0
    assert b"Search is away" in response.content
    assert b"10.0.0.7" not in response.content


def test_a_shop_shows_its_own_card_and_its_own_page(client, settings, tmp_path, request):
    (tmp_path / "shopsearch").mkdir()
    (tmp_path / "shopsearch/_result.html").write_text(
        "<b>{{ card.product.title }} of rank {{ card.result.rank }}</b>"
    )
    (tmp_path / "ours.html").write_text(
        "<title>{% block title %}{% endblock %}</title>{% block content %}{% endblock %}Ours"
    )
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "BASE_TEMPLATE": "ours.html"}
    request.getfixturevalue("shop")
    html = client.get("/search/", {"q": "red"}).content.decode()
    assert re.search(r"<b>red thing \d+ of rank 1</b>", html)
    assert html.rstrip().endswith("Ours")


def test_a_card_says_what_its_picture_shows_where_that_is_more_than_the_title_beside_it(client):
    words = ["", "red mug", "A red mug on a wooden table"]
    for text in words:
        image = product(RED, title="red mug").images.get()
        image.alternative_text = text
        image.save()
    index_everything()
    cards = elements(client.get("/search/", {"q": "red"})).all("img", **{"class": "shopsearch-card__picture"})
    assert sorted(each["alt"] or "" for each in cards) == ["", "", words[2]]
