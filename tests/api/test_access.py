"""Who may use the REST API: everyone by default, and otherwise whom the settings let in."""

import hashlib
import json
import uuid

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import AsyncClient, Client, override_settings
from drf_spectacular.generators import SchemaGenerator
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission, IsAuthenticated

from shopsearch.api.views import SearchView
from shopsearch.checks.settings import check_settings
from shopsearch.models import Rerank
from shopsearch.search import reranking
from tests.services.event_loop import run_in_a_loop_of_its_own
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import index_everything

API = "/api/search/"
KEY = "a key of the shop's app"
IS_AUTHENTICATED = "rest_framework.permissions.IsAuthenticated"
SESSIONS = "rest_framework.authentication.SessionAuthentication"


class HasAPIKey(BasePermission):
    """As in docs/reference-rest.md: the keys' digests are in a setting."""

    message = "Send the key that you were given as X-API-Key."

    def has_permission(self, request, view):
        given = hashlib.sha256(request.headers.get("X-API-Key", "").encode()).hexdigest()
        return given in {hashlib.sha256(KEY.encode()).hexdigest()}


class Partner:
    """Whom a key belongs to; ``pk`` is what the throttle counts by."""

    is_authenticated = True

    def __init__(self, pk):
        self.pk = pk


class APIKeyAuthentication(BaseAuthentication):
    def authenticate(self, request):
        given = request.headers.get("X-API-Key")
        if given is None:
            return None
        if not given.startswith("partner "):
            raise AuthenticationFailed("There is no such key.")
        return Partner(given.removeprefix("partner ")), given

    def authenticate_header(self, request):
        return "X-API-Key"


@pytest.fixture(autouse=True)
def _an_empty_cache():
    cache.clear()


@pytest.fixture
def allow(settings):
    def change(permission=None, authentication=None, **more):
        named = {"PERMISSION_CLASSES": permission, "AUTHENTICATION_CLASSES": authentication}
        given = {key: [value] for key, value in named.items() if value}
        settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None, **given, **more}

    return change


@pytest.fixture
def rerank_url(allow, client):
    """Of a rerank that somebody asked for while the API was open."""
    allow()
    for colour in (RED, BLUE, GREEN):
        product(colour)
    index_everything()
    return client.get(API, {"q": "crimson mug", "rerank": "true"}).json()["rerank"]["url"]


@pytest.mark.django_db
def test_a_permission_of_the_project_guards_searches_and_reranks_alike(client, rerank_url, allow):
    allow(f"{__name__}.HasAPIKey")
    for url in (f"{API}?q=red", rerank_url):
        for headers in ({}, {"X-API-Key": "another"}, {"X-API-Key": "\xff"}):
            refused = client.get(url, headers=headers)
            assert refused.status_code == 403
            assert refused.json() == {"code": "permission_denied", "detail": HasAPIKey.message}
        assert client.get(url, headers={"X-API-Key": KEY}).status_code == 200
    assert client.post(API, {"q": "red"}).status_code == 403
    assert client.post(API, {"q": "red"}, headers={"X-API-Key": KEY}).status_code == 200


@pytest.mark.django_db
def test_who_is_authenticated_by_the_projects_class_is_counted_by_who_they_are(client, allow):
    allow(IS_AUTHENTICATED, f"{__name__}.APIKeyAuthentication", THROTTLE_RATE="1/day")

    def status(key=None, address="10.0.0.1"):
        headers = {} if key is None else {"X-API-Key": key}
        return client.get(API, {"q": "red"}, headers=headers, REMOTE_ADDR=address).status_code

    assert status() == status("stranger") == 401
    assert [status("partner 1", "10.0.0.1"), status("partner 1", "10.0.0.2")] == [200, 429]
    assert status("partner 2", "10.0.0.1") == 200


@pytest.mark.django_db
def test_without_authentication_a_session_is_not_looked_at_and_no_token_is_wanted(allow):
    allow()
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("ada"))
    response = client.post(API, {"q": "red"})
    assert response.status_code == 200
    assert "Cookie" not in response.get("Vary", "")
    assert not response.cookies


@pytest.mark.django_db
def test_with_sessions_a_foreign_page_cannot_search_in_a_customers_name(allow):
    allow(IS_AUTHENTICATED, SESSIONS)
    client = Client(enforce_csrf_checks=True)
    assert client.get(API, {"q": "red"}).status_code == 403
    client.force_login(User.objects.create_user("ada"))
    assert client.get(API, {"q": "red"}).status_code == 200
    refused = client.post(API, {"q": "red"})
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    assert "CSRF" in refused.json()["detail"]


@pytest.mark.django_db
def test_a_subclass_of_the_view_keeps_its_own_classes(allow, rf):
    class CustomersSearchView(SearchView):
        permission_classes = (IsAuthenticated,)

    allow()
    assert CustomersSearchView.as_view()(rf.get("/", {"q": "red"})).status_code == 403
    assert SearchView.as_view()(rf.get("/", {"q": "red"})).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_whoever_may_not_see_a_rerank_may_not_see_its_events(rerank_url, allow):
    allow(f"{__name__}.HasAPIKey", RERANK_EVENTS=True)
    reranking.answer_next()

    async def scenario():
        client = AsyncClient()
        refused = await client.get(f"{rerank_url}events/")
        assert (refused.status_code, json.loads(refused.content)["code"]) == (403, "permission_denied")
        streamed = await client.get(f"{rerank_url}events/", headers={"X-API-Key": KEY})
        assert streamed.status_code == 200
        return b"".join([part async for part in streamed.streaming_content])

    assert b'"state":"done"' in run_in_a_loop_of_its_own(scenario)


@pytest.mark.django_db
def test_a_receipt_tells_whoever_has_its_address_nothing_of_who_asked_and_what_with(client, rerank_url):
    reranking.answer_next()
    Rerank.objects.update(raw="raw words of the model", request_id="request-7", error="secret")
    response = client.get(rerank_url)
    assert set(response.json()) == {
        *("id", "state", "order", "caption", "reason", "reasons", "shared", "repairs")
    }
    for kept in ("crimson", "request-7", "raw words", "secret", "127.0.0.1"):
        assert kept not in response.content.decode()


@pytest.mark.django_db
def test_the_address_of_a_receipt_cannot_be_guessed_listed_or_changed(client, rerank_url):
    """122 bits of the operating system's chance; no address lists receipts, and none can be written to."""
    rerank = Rerank.objects.get()
    assert rerank.pk.version == 4
    assert rerank_url.endswith(f"/api/reranks/{rerank.pk}/")
    near = [uuid.UUID(int=rerank.pk.int + step) for step in (-1, 1)]
    for address in ("/api/reranks/", *(f"/api/reranks/{each}/" for each in near)):
        assert client.get(address).status_code == 404
    for method in ("post", "put", "patch", "delete"):
        assert getattr(client, method)(rerank_url).status_code == 405
    assert Rerank.objects.get().state == rerank.state


def test_the_schema_tells_of_being_kept_out_where_somebody_is(allow):
    def answers():
        paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
        guarded = [API, "/api/products/{product_id}/similar/", "/api/reranks/{rerank_id}/"]
        return [set(method["responses"]) for path in guarded for method in paths[path].values()]

    allow()
    assert not any({"401", "403"} & each for each in answers())
    allow(IS_AUTHENTICATED)
    assert len(answers()) == 4
    assert all({"200", "401", "403"} <= each for each in answers())
    allow(authentication=SESSIONS)
    assert all({"401", "403"} <= each for each in answers())


@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [
        ("PERMISSION_CLASSES", [IS_AUTHENTICATED], True),
        ("PERMISSION_CLASSES", ["rest_framework.permissions.IsAuthentic"], False),
        ("PERMISSION_CLASSES", [SESSIONS], False),
        ("PERMISSION_CLASSES", IS_AUTHENTICATED, False),
        ("PERMISSION_CLASSES", [IsAuthenticated], False),
        ("AUTHENTICATION_CLASSES", [SESSIONS], True),
        ("AUTHENTICATION_CLASSES", (), True),
        ("AUTHENTICATION_CLASSES", None, False),
    ],
)
def test_the_check_of_settings_knows_classes(key, value, fits):
    with override_settings(SHOPSEARCH={key: value}):
        assert (not list(check_settings())) is fits
