"""The addresses: Django lists them without importing a view, and each view is what it would be if it were imported."""

import pytest
from asgiref.sync import iscoroutinefunction
from django.test import RequestFactory

from shopsearch.urls import urlpatterns


@pytest.mark.parametrize(
    "lazy", [pattern.callback for pattern in urlpatterns], ids=[each.name for each in urlpatterns]
)
def test_what_django_and_its_middleware_ask_of_a_view_is_the_views_own(lazy):
    view = lazy.find()
    assert lazy.csrf_exempt == getattr(view, "csrf_exempt", False)
    assert iscoroutinefunction(lazy) == iscoroutinefunction(view)
    assert getattr(lazy, "login_required", True) == getattr(view, "login_required", True)


def test_a_view_that_was_asked_for_is_named_as_itself():
    lazy = next(pattern.callback for pattern in urlpatterns if pattern.name == "api-health-live")
    assert lazy(RequestFactory().get("/")).status_code == 200
    assert lazy.view_class.__name__ == "LiveView"
