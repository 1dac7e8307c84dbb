"""A shop that is indexed, and settings that then name another model."""

import pytest

from shopsearch.backends import get_vector_store
from tests.indexing.rebuilds import COLOUR, GREYS, MIRROR, use, work
from tests.shop.pictures import BLUE, GREEN, RED, product


@pytest.fixture(autouse=True)
def store(settings):
    use(settings, COLOUR, BATCH_SIZE=2, QUERY_CACHE_SECONDS=0)
    get_vector_store().clear()
    return get_vector_store()


@pytest.fixture
def shop(db):
    """A red, a green and a blue product, and grey ones; indexed."""
    for colour, title in ((RED, "red"), (GREEN, "green"), (BLUE, "blue")):
        product(colour, title=title)
    for number in range(GREYS):
        product((120 + number, 120 + number, 120 + number), title="grey")
    work()


@pytest.fixture
def other_model(settings, shop):
    use(settings, MIRROR, COLOUR)
