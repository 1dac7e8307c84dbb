"""Staff with permissions, and an empty store."""

import pytest
from django.contrib.auth.models import Permission, User

from shopsearch.backends import get_vector_store
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import index_everything


@pytest.fixture(autouse=True)
def _fresh_store():
    get_vector_store().clear()
    yield
    get_vector_store().clear()


@pytest.fixture
def staff(client):
    """Logs in a member of staff with these permissions."""

    def log_in(*permissions):
        user = User.objects.create_user("staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def mugs(settings):
    """By colour; two results to a page."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "PAGE_SIZE": 2, "MAX_PAGE_SIZE": 3}
    colours = {"red": RED, "green": GREEN, "blue": BLUE}
    made = {name: product(colour, title=f"{name} mug") for name, colour in colours.items()}
    index_everything()
    return made
