"""A project's own settings do not break search: each row is walked through from a save to a better order."""

import re
from uuid import UUID

import pytest
from django.db import connection, connections
from django.urls import resolve
from rest_framework import exceptions, renderers, throttling, versioning
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from shopsearch.models import EvaluationQuery
from tests.shop.store import IMAGES

from .walk import FIRST, RERANKED, SECOND, walk, walk_through_api

pytestmark = pytest.mark.django_db
NOBODY = UUID(int=1)
"""The id of no rerank; always the same one, since parallel processes compare the names of their tests."""


@pytest.fixture(autouse=True)
def _reranked(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, **RERANKED}


def test_settings_as_they_are(client):
    walk(client)


DJANGO = {
    "numbers with separators": {"USE_THOUSAND_SEPARATOR": True},
    "numbers with separators, in German": {"USE_THOUSAND_SEPARATOR": True, "LANGUAGE_CODE": "de"},
    "numbers with separators, in Spanish": {"USE_THOUSAND_SEPARATOR": True, "LANGUAGE_CODE": "es"},
    "numbers with separators of the project's own": {
        "USE_THOUSAND_SEPARATOR": True,
        "THOUSAND_SEPARATOR": "'",
        "NUMBER_GROUPING": 2,
    },
    "no time zones": {"USE_TZ": False},
    "another time zone": {"TIME_ZONE": "Asia/Kathmandu"},
    "no translation": {"USE_I18N": False},
    "no slash is appended": {"APPEND_SLASH": False},
}


@pytest.mark.parametrize("changes", DJANGO.values(), ids=DJANGO)
def test_settings_of_django(client, settings, changes):
    for name, value in changes.items():
        setattr(settings, name, value)
    walk(client)


def test_each_request_in_a_transaction(client, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    walk(client)


@pytest.mark.parametrize(
    "address", ["api/health/live/", "api/health/ready/", "api/metrics/", f"api/reranks/{NOBODY}/events/"]
)
def test_health_and_streams_of_events_are_in_no_transaction(address):
    """Else Django answered 500 while the database is away, and always where a view is async."""
    assert set(connections) <= resolve(f"/{address}").func._non_atomic_requests


class Wrapped(renderers.JSONRenderer):
    def render(self, data, *arguments, **options):
        return super().render({"data": data}, *arguments, **options)


class Never(throttling.BaseThrottle):
    def allow_request(self, request, view):
        return False


class OnlyVendor:
    """Takes nothing but the shop's own media type."""

    def select_parser(self, request, parsers):
        raise exceptions.UnsupportedMediaType("application/json")

    def select_renderer(self, request, renderers, format_suffix=None):
        raise exceptions.NotAcceptable


def raise_everything(error, context):
    raise error


def answer_with_200(error, context):
    return Response({"success": False, "errors": [str(error)]})


class Versioned:
    default_version = None
    allowed_versions = ("1.0", "2.0")


def versioned(base):
    """The class as a project's settings, ALLOWED_VERSIONS and no DEFAULT_VERSION, make it."""
    return type(base.__name__, (Versioned, base), {})


REST_FRAMEWORK = {
    "versions in the accept header": {"versioning_class": versioned(versioning.AcceptHeaderVersioning)},
    "versions in the path": {"versioning_class": versioned(versioning.URLPathVersioning)},
    "versions by namespace": {"versioning_class": versioned(versioning.NamespaceVersioning)},
    "versions by host": {"versioning_class": versioned(versioning.HostNameVersioning)},
    "versions by parameter": {"versioning_class": versioned(versioning.QueryParameterVersioning)},
    "pages": {"pagination_class": PageNumberPagination},
    "answers in an envelope": {"renderer_classes": (Wrapped,)},
    "answers as pages alone": {"renderer_classes": (renderers.TemplateHTMLRenderer,)},
    "only who is logged in": {"permission_classes": (IsAuthenticated,)},
    "nobody at all": {"throttle_classes": (Never,)},
    "no parser": {"parser_classes": ()},
    "a media type of its own": {"content_negotiation_class": OnlyVendor},
    "no metadata": {"metadata_class": None},
}


@pytest.mark.parametrize("changes", REST_FRAMEWORK.values(), ids=REST_FRAMEWORK)
def test_policies_of_rest_framework(client, monkeypatch, changes):
    for name, value in changes.items():
        monkeypatch.setattr(APIView, name, value, raising=False)
    walk_through_api(client)


@pytest.mark.parametrize("handler", [raise_everything, answer_with_200])
def test_an_exception_handler_of_the_projects(client, monkeypatch, handler):
    monkeypatch.setattr(APIView, "get_exception_handler", lambda view: handler)
    walk_through_api(client)
    refused = client.post("/api/health/live/")
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")


def test_a_client_that_sends_the_version_with_each_request(client, monkeypatch):
    monkeypatch.setattr(APIView, "versioning_class", versioned(versioning.QueryParameterVersioning))
    for version in ("1.0", "3.0"):  # which versions there are is the shop's business
        assert client.get("/api/search/", {"q": "red", "version": version}).status_code == 200
        assert client.get("/api/products/1/similar/", {"version": version}).status_code == 404
    monkeypatch.setattr(APIView, "versioning_class", versioned(versioning.AcceptHeaderVersioning))
    walk_through_api(client, HTTP_ACCEPT="application/json; version=1.0")


def test_numbers_with_separators_in_the_admin(admin_client, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    walk_through_api(admin_client)
    asked = EvaluationQuery.objects.create(pk=1_234, index=IMAGES.name, text="red")
    page = admin_client.get(f"/admin/shopsearch/evaluationquery/{asked.pk}/judge/").content.decode()
    assert re.findall('name="grade-([0-9]+)" value=""', page) == [str(FIRST), str(SECOND)]
    page = admin_client.get("/admin/shopsearch/overview/").content.decode()
    assert "shopsearch-panel" in page
