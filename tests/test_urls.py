"""The addresses: Django lists them without importing a view, and each view is what it would be if it were imported."""

from functools import wraps

import pytest
from asgiref.sync import iscoroutinefunction
from django.test import RequestFactory

from shopsearch.urls import LazyView, urlpatterns

VIEWS = [pattern.callback for pattern in urlpatterns]
NAMES = [pattern.name for pattern in urlpatterns]


def not_imported_yet(lazy):
    return LazyView(lazy.find, is_async=iscoroutinefunction(lazy))


@pytest.mark.parametrize("lazy", VIEWS, ids=NAMES)
def test_what_django_and_its_middleware_ask_of_a_view_is_the_views_own(lazy):
    view = lazy.find()
    assert iscoroutinefunction(lazy) == iscoroutinefunction(view)
    for name in ("csrf_exempt", "login_required", "_non_atomic_requests"):
        assert getattr(not_imported_yet(lazy), name, None) == getattr(view, name, None)


@pytest.mark.parametrize("lazy", VIEWS, ids=NAMES)
def test_a_decorator_of_the_project_copies_what_it_would_copy_of_the_view(lazy):
    """Else an address that is decorated would ask for a CSRF token or a login, be put into a transaction, or leave the
    description of the API.
    """

    def decorated(view):
        return wraps(view)(lambda request: view(request))

    view = lazy.find()
    own = {name: value for name, value in vars(decorated(view)).items() if name != "__wrapped__"}
    copied = vars(decorated(not_imported_yet(lazy)))
    assert {name: copied.get(name) for name in own} == own


def test_a_view_that_was_asked_for_is_named_as_itself():
    lazy = next(pattern.callback for pattern in urlpatterns if pattern.name == "api-health-live")
    assert lazy(RequestFactory().get("/")).status_code == 200
    assert lazy.view_class.__name__ == "LiveView"


@pytest.mark.parametrize("error", [AttributeError, ImportError])
def test_a_view_that_cannot_be_imported_says_why_each_time(error):
    def find():
        raise error("module 'numpy' has no attribute 'float'")

    lazy = LazyView(find)
    for _ in range(2):
        with pytest.raises(error, match="has no attribute 'float'"):
            lazy(RequestFactory().get("/"))
