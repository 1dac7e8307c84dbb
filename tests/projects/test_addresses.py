"""Wherever a project includes ``shopsearch.urls``, the search works; and who takes an address from it is named."""

import sys
from types import ModuleType

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.core.checks import ERROR, run_checks
from django.http import HttpResponse
from django.template import engines
from django.urls import NoReverseMatch, include, path, re_path

from shopsearch.storefront.views import SearchPage

from .walk import RERANKED, walk

pytestmark = pytest.mark.django_db
OURS = path("", include("shopsearch.urls"))
WIDGET = "{% load shopsearch %}{% shopsearch_widget %}"


def home(request):
    return HttpResponse(engines["django"].from_string(WIDGET).render({}, request))


def another(request, **kwargs):
    return HttpResponse("another search")


class OwnPage(SearchPage):
    pass


@pytest.fixture
def urls(settings, monkeypatch):
    """Sets the project's urlpatterns."""

    def use(*patterns):
        module = ModuleType("addresses_of_a_test")
        module.urlpatterns = [*patterns, path("", home)]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        settings.ROOT_URLCONF = module.__name__

    settings.SHOPSEARCH = {**settings.SHOPSEARCH, **RERANKED, "COLLECT_QUERIES": True}
    settings.LANGUAGE_CODE = "en"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    yield use
    settings.ROOT_URLCONF = "tests.urls"


def found():
    return {message.id: message for message in run_checks(tags=["shopsearch"])}


PLACES = {
    "below a prefix": ("/find", path("find/", include("shopsearch.urls"))),
    "below a namespace": ("/shop", path("shop/", include(([OURS], "shop")))),
    "below two namespaces": ("/a/b", path("a/", include(([path("b/", include(([OURS], "b")))], "a")))),
    "in a namespace of another name": ("", path("", include("shopsearch.urls", namespace="finder"))),
    "for each language": ("/en", *i18n_patterns(OURS)),
    "for each language but one": ("", *i18n_patterns(OURS, prefix_default_language=False)),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_included(client, urls, place):
    prefix, *patterns = place
    urls(*patterns)
    assert not {"shopsearch.E015", "shopsearch.W014", "shopsearch.W016"} & found().keys()
    assert f'action="{prefix}/search/"' in client.get("/").content.decode()
    walk(client, prefix)
    page = client.get(f"{prefix}/search/", {"q": "red"}).content.decode()
    assert f'action="{prefix}/search/consent/"' in page


def test_another_view_that_has_an_address_of_the_search_is_W016(urls):
    urls(path("search/", another), path("api/<path:rest>", another), OURS)
    messages = [each.msg for each in run_checks(tags=["shopsearch"]) if each.id == "shopsearch.W016"]
    assert messages[0].startswith(
        "/search/ is shopsearch's address, but tests.projects.test_addresses.another"
    )
    assert len(messages) == 7


def test_what_comes_later_and_a_page_of_the_shops_own_made_from_this_one_are_no_others(urls):
    urls(path("search/", OwnPage.as_view()), OURS, path("<path:rest>", another))
    assert "shopsearch.W016" not in found()


VARIABLE = {
    "a path": path("<slug:shop>/", include("shopsearch.urls")),
    "a regular expression": re_path(r"^(?P<shop>\w+)/", include("shopsearch.urls")),
    "below a fixed part and a namespace": path("in/<int:shop>/", include(([OURS], "shop"))),
}


@pytest.mark.parametrize("variable", VARIABLE.values(), ids=VARIABLE)
def test_below_a_part_that_varies_every_page_would_be_an_error_which_is_E015(client, urls, variable):
    urls(variable)
    assert "shopsearch.W014" not in found()
    assert found()["shopsearch.E015"].level == ERROR
    with pytest.raises(NoReverseMatch):
        client.get("/")


def test_not_included_is_W014_alone(urls):
    urls()
    assert {"shopsearch.W014"} == found().keys() & {"shopsearch.E015", "shopsearch.W014"}
