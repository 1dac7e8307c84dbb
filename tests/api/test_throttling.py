"""Throttles: rates per scope, counted exactly by however many processes, and by nobody while the cache is away."""

import json
import logging
import os
import shutil
import subprocess
import sys
from unittest.mock import Mock

import pytest
from django.core.cache import cache
from django.core.checks import run_checks
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory, override_settings
from rest_framework.settings import api_settings

from shopsearch.api import access
from shopsearch.api.access import seconds_to_wait, visitor_key
from shopsearch.checks.deployment import check_proxies
from shopsearch.checks.settings import check_settings
from shopsearch.models import Rerank
from tests import ROOT
from tests.shop.pictures import BLUE, RED, picture, product
from tests.shop.store import index_everything

API, PAGE = "/api/search/", "/search/"
PROCESSES, THREADS, EACH = 4, 4, 25


@pytest.fixture(autouse=True)
def _an_empty_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def rates(settings):
    def change(rate):
        settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": rate}

    return change


def upload(colour=RED):
    return SimpleUploadedFile("query.png", picture(colour).read(), "image/png")


@pytest.mark.services
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_processes_that_share_a_redis_admit_exactly_the_rate_however_they_meet(redis_server):
    """400 requests of one visitor by 16 threads of 4 processes at once; 137 a day are allowed, to each visitor."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(ROOT),
        "TEST_CACHE_URL": redis_server.url,
    }
    command = [sys.executable, "-c", _VISITOR, str(THREADS), str(EACH), "137/day"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    visitors = [
        subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) for _ in range(PROCESSES)
    ]
    for each in visitors:
        assert each.stdout.readline() == "ready\n"
    for each in visitors:
        each.stdin.write("go\n")
        each.stdin.flush()
    admitted = [json.loads(each.communicate(timeout=60)[0]) for each in visitors]
    assert sum(map(sum, admitted)) == 137
    assert redis_server.client().dbsize() == 1


_VISITOR = """
import json, os, sys
from concurrent.futures import ThreadPoolExecutor
from django.conf import settings
settings.CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["TEST_CACHE_URL"]}
}
threads, each = int(sys.argv[1]), int(sys.argv[2])
settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": sys.argv[3]}
import django
django.setup()
from django.core.checks import run_checks
from django.test import RequestFactory
from shopsearch.api.access import seconds_to_wait
def visit(_):
    return sum(not seconds_to_wait(RequestFactory().get("/"), "search") for _ in range(each))
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(threads) as pool:
    print(json.dumps(list(pool.map(visit, range(threads)))))
"""


def test_one_rate_is_that_of_all_searches_together(rates):
    rates("2/day")
    request = RequestFactory().get("/")
    assert [bool(seconds_to_wait(request, "search")) for _ in range(3)] == [False, False, True]
    assert [seconds_to_wait(request, scope) for scope in ("image", "rerank")] == [0, 0]


def test_a_visitor_may_come_again_when_the_period_is_over(rates, monkeypatch):
    rates("1/min")
    request = RequestFactory().get("/")
    monkeypatch.setattr(access.time, "time", lambda: 600.0)
    assert seconds_to_wait(request, "search") == 0
    monkeypatch.setattr(access.time, "time", lambda: 618.5)
    assert seconds_to_wait(request, "search") == 42
    monkeypatch.setattr(access.time, "time", lambda: 660.0)
    assert seconds_to_wait(request, "search") == 0


@pytest.mark.django_db
@pytest.mark.parametrize("url", [API, PAGE])
def test_pictures_have_a_rate_of_their_own_and_count_as_searches_too(client, rates, url):
    rates({"search": "4/day", "image": "2/day"})
    for _ in range(2):
        assert client.post(url, {"image": upload()}).status_code == 200
    refused = client.post(url, {"image": upload()})
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0
    assert client.get(url, {"q": "red"}).status_code == 200
    assert client.get(url, {"q": "red"}).status_code == 429


@pytest.mark.django_db
def test_the_page_and_the_api_count_pictures_together(client, rates):
    rates({"image": "1/day"})
    assert client.post(PAGE, {"image": upload()}).status_code == 200
    assert client.post(API, {"image": upload()}).status_code == 429


@pytest.mark.django_db
def test_a_search_over_the_rate_of_reranks_is_answered_without_one(client, rates):
    rates({"rerank": "1/day"})
    for colour in (RED, BLUE):
        product(colour)
    index_everything()
    first, second = (client.get(API, {"q": words, "rerank": "true"}).json() for words in ("red", "blue"))
    assert first["rerank"]["state"] == "queued"
    assert second["rerank"] is None
    assert len(second["results"]) == 2
    shown = client.get(PAGE, {"q": "green"}, headers={"X-Shopsearch-Fragment": "results"})
    assert shown.status_code == 200
    assert Rerank.objects.count() == 1


def test_a_cache_that_is_away_refuses_nobody_is_asked_again_after_a_pause_and_is_logged_once(
    rates, monkeypatch, caplog
):
    rates("1/day")
    request, asked, now = RequestFactory().get("/"), [], [1_000.0]
    monkeypatch.setattr(access, "_counter", access._Counter())
    monkeypatch.setattr(access.time, "monotonic", lambda: now[0])

    def away(key):
        asked.append(key)
        raise ConnectionError("no Redis at 10.0.0.7")

    with monkeypatch.context() as outage:
        outage.setattr(cache, "incr", away, raising=False)
        for _ in range(3):
            for _ in range(10):
                assert seconds_to_wait(request, "search") == 0
            now[0] += access.PAUSE_SECONDS
    assert len(asked) == 3
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in said] == ["shopsearch.api.access"]
    assert [bool(seconds_to_wait(request, "search")) for _ in range(2)] == [False, True]


@pytest.mark.parametrize("is_counted", [True, False])
def test_while_the_cache_is_away_even_a_rate_of_none_at_all_refuses_nobody(rates, monkeypatch, is_counted):
    rates("0/day")
    monkeypatch.setattr(access, "_counter", access._Counter())
    request = RequestFactory().get("/")
    assert seconds_to_wait(request, "search", is_counted=is_counted)
    for ask in ("get", "incr"):
        monkeypatch.setattr(cache, ask, Mock(side_effect=ConnectionError), raising=False)
    assert seconds_to_wait(request, "search", is_counted=is_counted) == 0


@pytest.mark.parametrize(
    ("proxies", "forwarded", "same"),
    [
        (0, ("1.1.1.1", "2.2.2.2"), True),
        (1, ("6.6.6.6, 1.1.1.1", "7.7.7.7, 1.1.1.1"), True),
        (1, ("1.1.1.1", "2.2.2.2"), False),
        (2, ("1.1.1.1, 10.0.0.1", "2.2.2.2, 10.0.0.1"), False),
    ],
)
def test_behind_proxies_the_visitor_is_whom_the_outermost_own_proxy_saw(
    monkeypatch, proxies, forwarded, same
):
    monkeypatch.setattr(api_settings, "NUM_PROXIES", proxies)
    one, other = (
        visitor_key(RequestFactory().get("/", headers={"X-Forwarded-For": each})) for each in forwarded
    )
    assert (one == other) is same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("for=192.0.2.1;proto=https", "for=192.0.2.2;proto=https", False),
        ("for=192.0.2.1;proto=https", "proto=http; For=192.0.2.1", True),
        ('for="192.0.2.1:4711"', "for=192.0.2.1", True),
        ('by=x;for="[2001:db8::1]:4711"', 'for="[2001:db8::2]"', True),
        ("for=6.6.6.6, for=192.0.2.1", "for=7.7.7.7, for=192.0.2.1", True),
        ('for="6.6.6.6, for=192.0.2.1', 'for="7.7.7.7;x="\\, for=192.0.2.1', True),
        ("for=_hidden", "for=unknown", False),
        ("by=x", "by=y", False),
    ],
)
def test_the_forwarded_header_says_it_where_there_is_no_x_forwarded_for(monkeypatch, one, other, same):
    monkeypatch.setattr(api_settings, "NUM_PROXIES", 1)
    found = [visitor_key(RequestFactory().get("/", headers={"Forwarded": each})) for each in (one, other)]
    assert (found[0] == found[1]) is same


@pytest.mark.parametrize("proxies", [None, 0, 1])
def test_the_forwarded_header_is_not_believed_where_no_proxy_wrote_it(monkeypatch, proxies):
    monkeypatch.setattr(api_settings, "NUM_PROXIES", proxies)
    known = {"X-Forwarded-For": "192.0.2.1"} if proxies else {}
    found = {
        visitor_key(RequestFactory().get("/", headers={**known, "Forwarded": f"for=6.6.6.{number}"}))
        for number in range(3)
    }
    assert len(found) == 1


def test_one_visitor_does_not_take_the_places_of_all_reranks(settings, rates):
    rates("9000/min")
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_OPEN_RERANKS": 10, "RERANK_DEADLINE_SECONDS": 86_400}
    one, other = (RequestFactory().get("/", REMOTE_ADDR=f"192.0.2.{number}") for number in (1, 2))
    assert sum(access.may_rerank(one) for _ in range(20)) == 3
    assert sum(access.may_rerank(other) for _ in range(20)) == 3
    rates(None)
    assert access.may_rerank(one)


def test_a_deployment_that_believes_every_visitors_header_is_warned(settings, monkeypatch):
    [warning] = check_proxies()
    assert warning.id == "shopsearch.W012"
    assert warning in run_checks(tags=["shopsearch"], include_deployment_checks=True)
    assert warning not in run_checks(tags=["shopsearch"])
    for proxies, is_fine in ((0, True), (2, True), ("1", False), (1.5, False), (-1, False), (True, False)):
        with monkeypatch.context() as patch:
            patch.setattr(api_settings, "NUM_PROXIES", proxies)
            assert (not list(check_proxies())) is is_fine
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    assert list(check_proxies()) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("unix:", "", False),
        ("192.0.2.1:4711", "192.0.2.1:4712", True),
        ("192.0.2.1:4711", "192.0.2.1", True),
        ("192.0.2.1:4711", "192.0.2.2:4711", False),
        ("[2001:db8::1]:4711", "2001:db8::2", True),
        ("[2001:db8::1]", "[2001:db8::1]:80", True),
        ("[2001:db8:0:1::1]:80", "[2001:db8:0:2::1]:80", False),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1", True),
    ],
)
def test_a_network_of_ipv6_is_one_visitor(one, other, same):
    found = [visitor_key(RequestFactory().get("/", REMOTE_ADDR=address)) for address in (one, other)]
    assert (found[0] == found[1]) is same


def test_whatever_a_proxy_writes_is_a_key_that_every_cache_takes_and_that_holds_no_address(rates):
    rates("1/day")
    for forwarded in ("198.51.100.7", "x" * 9_000, "1.1.1.1 \t\x7f,,", ""):
        seconds_to_wait(RequestFactory().get("/", headers={"X-Forwarded-For": forwarded}), "search")
    keys = list(cache._cache)
    assert len(keys) == 4
    assert all(len(key) < 200 and key.isascii() and key.isprintable() for key in keys)
    assert not any("198.51.100" in key for key in keys)


@pytest.mark.parametrize(
    ("rate", "fits"),
    [
        ({"search": "9/min"}, True),
        ({"search": "9/min", "image": None, "rerank": "1/hour"}, True),
        ({}, True),
        ({"pictures": "9/min"}, False),
        ({"image": "often"}, False),
        ({"image": 9}, False),
        (["9/min"], False),
    ],
)
def test_the_check_of_settings_knows_rates(rate, fits):
    with override_settings(SHOPSEARCH={"THROTTLE_RATE": rate}):
        assert (not list(check_settings())) is fits
