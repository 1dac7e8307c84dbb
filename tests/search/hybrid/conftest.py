"""A shop whose index declares words, and a store that knows how often it was asked."""

from dataclasses import dataclass, field

import pytest

from shopsearch.models import ProductImage
from shopsearch.registry import index_for
from shopsearch.testing import MemoryStore
from tests.shop.models import Category
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import index_everything

IMAGES = index_for(ProductImage)


@dataclass(kw_only=True, eq=False)
class CountingStore(MemoryStore):
    """Knows how often it was asked."""

    asked: list[str] = field(default_factory=list, init=False)

    def search(self, *args, **kwargs):
        self.asked.append("vectors")
        return super().search(*args, **kwargs)

    def search_words(self, *args, **kwargs):
        self.asked.append("words")
        return super().search_words(*args, **kwargs)


@pytest.fixture(autouse=True)
def _an_empty_store(settings):
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "VECTOR_STORE": {"BACKEND": "tests.search.hybrid.conftest.CountingStore"},
    }


@pytest.fixture
def declare(monkeypatch):
    """From now on the index declares these words."""

    def declare(words=("title", "category__name"), identifiers=("title",), language="en"):
        for name, value in {"words": words, "identifiers": identifiers, "language": language}.items():
            monkeypatch.setattr(type(IMAGES), name, value)

    return declare


@pytest.fixture
def shop(declare):
    declare()
    kitchen, garden = (Category.objects.create(name=name) for name in ("kitchenware", "gardening"))
    product(RED, title="Enamel mug Zephyr", category=kitchen, price=8)
    product(GREEN, title="Watering can Zephyr", category=garden, price=12)
    product(BLUE, title="Plate Boreas", category=kitchen, price=20)
    for shade in range(6):
        product((220, 30 + shade, 30), title=f"Scarf {shade}", price=30)
    index_everything()
