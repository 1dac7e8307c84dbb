"""What shoppers type, and the product that they mean."""

import pytest

from shopsearch.models import ProductImage
from shopsearch.registry import index_for
from shopsearch.search.engine import search
from tests.shop.models import Category
from tests.shop.pictures import GREEN, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db

IMAGES = index_for(ProductImage)


def first(query, **kwargs):
    return search(query, limit=1, **kwargs).results[0].product.title


@pytest.fixture
def sold(declare):
    """Sells these; whatever is asked for, all pictures are alike."""

    def sold(*titles, language="en"):
        declare(language=language)
        for title in titles:
            title, _, brand = title.partition(" | ")
            product(GREEN, title=title, category=Category.objects.get_or_create(name=brand or "things")[0])
        index_everything()

    return sold


def test_what_was_tried_on_real_titles_finds_what_is_meant(sold):
    titles = {
        "hoodies": "Grey hoodie with zip",
        "C++ in a nutshell": "C++ in a nutshell",
        "C in a nutshell": "C in a nutshell",
        "+2.50": "+2.50",
        "-2.50": "-2.50",
        "AB123": "AB-12/3",
        "かぎ": "かぎ",
        "かき": "かき",
        "mueller": "Müller kettle",
        "On": "Cloud runner | On",
        "tshirt": "White t-shirt",
        "usbc": "Cable USB-C",
        "iphone15": "Case for iPhone 15",
        "m8 x 1.25": "Bolt M8x1.25",
    }
    sold(
        *(f"Thing {number}" for number in range(10)),
        *titles.values(),
        "On the go mug",
        "Case for iPhone 14",
        "Bolt M8x1",
    )
    assert {query: first(query) for query in titles} == titles | {"On": "Cloud runner"}
    named = {query for query in titles if search(query).is_named}
    assert named == {query for query, title in titles.items() if query == title} | {"AB123"}


def test_plata_is_silver_and_no_plate(sold):
    sold(
        "Plato hondo",
        "Plato llano",
        "Cadena de plata",
        "Bolso de piel",
        "Bolsa de tela",
        "Taza gris",
        language="es",
    )
    wanted = {
        "plata": "Cadena de plata",
        "bolsos": "Bolso de piel",
        "bolsas": "Bolsa de tela",
        "tazas grises": "Taza gris",
    }
    assert {query: first(query) for query in wanted} == wanted


def test_near_names_are_not_taken_for_the_exact_one(sold):
    names = [
        "MUG-001",
        "MUG-002",
        "AB-12/3",
        "C++ primer",
        "+2.50",
        '15" stand',
        "30° wedge",
        "½ inch pipe",
        "かぎ",
    ]
    near = [
        "MUG-003",
        "AB-12/4",
        "AB-12-3",
        "AB/12/3",
        "C primer",
        "C# primer",
        "+2.60",
        "2.50",
        "15' stand",
        '16" stand',
    ]
    near += [
        "30 wedge",
        "31° wedge",
        "1/3 inch pipe",
        "12 inch pipe",
        "かき",
        "MUG-0011",
        "MUG-0001",
        "MUG+001",
    ]
    sold(*names)
    assert [name for name in names if not search(name).is_named or first(name) != name] == []
    assert [name for name in near if search(name).is_named] == []
