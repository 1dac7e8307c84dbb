"""The search page with examples: more like this, less like this, and a part of the shopper's picture."""

from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from shopsearch.models import ProductImage
from tests.shop.models import Product
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def shop(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    cache.clear()
    for title, colour in {"rose": RED, "cherry": (200, 40, 40), "leaf": GREEN, "sea": BLUE}.items():
        product(colour, title=title)
    index_everything()


def page(response):
    assert response.status_code == 200, response.content
    return response.context["search"]


def titles(response):
    return [card.product["title"] for card in page(response).cards]


def card(response, title):
    return next(each for each in page(response).cards if each.product["title"] == title)


def key(title):
    return str(ProductImage.objects.get(product__title=title).pk)


def test_a_card_leads_to_the_same_search_with_one_more_example(client):
    found = client.get("/search/", {"q": "red", "price__lte": 100, "offset": 0})
    more, less = card(found, "leaf").similar_url, card(found, "leaf").dissimilar_url
    assert parse_qs(urlsplit(more).query) == {"q": ["red"], "price__lte": ["100"], "similar": [key("leaf")]}
    assert parse_qs(urlsplit(less).query) == {
        "q": ["red"],
        "price__lte": ["100"],
        "dissimilar": [key("leaf")],
    }
    assert titles(client.get(more)) != titles(found)
    assert "leaf" not in titles(client.get(less))
    following = client.get(card(client.get(less), "sea").dissimilar_url)
    assert set(titles(following)) == {"rose", "cherry"}


def test_every_example_is_listed_and_taken_away_by_its_own_address(client):
    found = client.get(
        "/search/", {"q": "red", "similar": key("rose"), "dissimilar": [key("leaf"), key("sea")]}
    )
    shown = [(each.product["title"], each.is_wanted) for each in page(found).examples]
    assert shown == [("rose", True), ("leaf", False), ("sea", False)]
    assert b"Unlike leaf. Remove" in found.content
    without = parse_qs(urlsplit(page(found).examples[1].removal_url).query)
    assert without == {"q": ["red"], "similar": [key("rose")], "dissimilar": [key("sea")]}


def test_one_product_alone_is_in_the_heading_and_in_no_list(client):
    found = client.get("/search/", {"similar": key("rose")})
    assert not page(found).shows_examples
    assert b"Like rose" in found.content


def test_no_card_offers_more_examples_than_there_may_be(client):
    found = client.get("/search/", {"q": "red", "dissimilar": [key("sea")] * 5})
    assert page(found).cards[0].similar_url == page(found).cards[0].dissimilar_url == ""
    assert client.get("/search/", {"q": "red", "dissimilar": [key("sea")] * 6}).status_code == 400


def test_an_example_that_is_gone_leaves_the_search_as_it_would_be_without(client):
    address = {"q": "red", "dissimilar": key("sea")}
    Product.objects.filter(title="sea").update(published=False)
    assert titles(client.get("/search/", address)) == titles(client.get("/search/", {"q": "red"}))


def post(client, address="/search/", **fields):
    picture = Image.new("RGB", (64, 64), BLUE)
    picture.paste(GREEN, (0, 0, 16, 16))
    file = BytesIO()
    picture.save(file, "PNG")
    image = SimpleUploadedFile("picture.png", file.getvalue(), "image/png")
    return client.post(address, {"image": image, **fields})


def test_the_part_of_a_picture_is_in_the_address_or_in_numbers_of_the_form(client):
    assert titles(post(client))[0] == "sea"
    assert titles(post(client, "/search/?picture=1&box=0,0,0.25,0.25"))[0] == "leaf"
    assert titles(post(client, box_width="25", box_height="25"))[0] == "leaf"
    assert titles(post(client, box_left="50"))[0] == "sea"


@pytest.mark.parametrize("fields", [{"box": "0,0,9,9"}, {"box": "x"}, {"box_left": "x"}, {"box_left": "100"}])
def test_a_part_that_is_none_is_a_sentence(client, fields):
    response = post(client, **fields)
    assert response.status_code == 400
    assert b"part" in response.content


def test_a_picture_and_products_of_the_shop_count_together(client):
    found = post(client, "/search/?picture=1", dissimilar=key("sea"))
    assert "sea" not in titles(found)
    assert [each.product["title"] for each in page(found).examples] == ["sea"]
