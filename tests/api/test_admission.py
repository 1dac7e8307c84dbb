"""Admission: so many searches at once, words before pictures, the rest turned away at once. Counted, not timed."""

import math
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from io import BytesIO
from itertools import count
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import UnreadablePostError
from django.http.multipartparser import MultiPartParser
from django.test import RequestFactory
from PIL import Image

from shopsearch.api import access
from shopsearch.api.access import Places, admitted, seconds_to_wait
from shopsearch.embedders.remote.embedder import WorkerEmbedder
from shopsearch.exceptions import Busy, EmbedderError, ImageUnreadable, QueryError
from shopsearch.models import Rerank
from shopsearch.search import examples
from shopsearch.testing import ColourEmbedder
from shopsearch.types import Query
from tests.services.waiting import wait_until
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import index_everything

API, PAGE = "/api/search/", "/search/"


@pytest.fixture(autouse=True)
def _four_places_two_of_them_for_pictures(settings, monkeypatch):
    cache.clear()
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "THROTTLE_RATE": None,
        "MAX_SEARCHES": 4,
        "MAX_IMAGE_SEARCHES": 2,
        "MAX_WAITING_SEARCHES": 8,
    }
    monkeypatch.setattr(access, "_places", Places())
    # Nobody waits for the time that a test takes to fill the places.
    monkeypatch.setattr(access, "MAX_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(access, "LARGE_BURST_SECONDS", math.inf)


def upload():
    return SimpleUploadedFile("query.png", picture(RED).read(), "image/png")


def search(client, url, kind):
    return client.post(url, {"image": upload()}) if kind == "image" else client.get(url, {"q": "red"})


def is_busy(response):
    if response.status_code != 503:
        assert response.status_code == 200
        return False
    assert int(response["Retry-After"]) > 0
    return True


@pytest.mark.django_db
@pytest.mark.parametrize("url", [API, PAGE])
def test_pictures_are_turned_away_while_words_pass_until_their_places_are_taken_too_and_then_all_pass_again(
    client, url
):
    def answers():
        return [is_busy(search(client, url, kind)) for kind in ("image", "text")]

    with ExitStack() as places:
        for _ in range(2):
            assert answers() == [False, False]
            places.enter_context(admitted("image"))
        for _ in range(2):
            assert answers() == [True, False]
            places.enter_context(admitted("text"))
        assert answers() == [True, True]
    assert answers() == [False, False]


@pytest.mark.django_db
def test_who_is_turned_away_is_told_so_by_the_api_and_on_the_page(client):
    with ExitStack() as places:
        for _ in range(4):
            places.enter_context(admitted("text"))
        response = client.get(API, {"q": "red"})
        assert response.json() == {"code": "busy", "detail": str(Busy())}
        assert response["Cache-Control"] == "no-store"
        for headers in ({}, {"X-Shopsearch-Fragment": "results"}):
            shown = client.get(PAGE, {"q": "red"}, headers=headers)
            assert (shown.status_code, shown["Retry-After"]) == (503, "2")
            assert b"Many are searching at the moment" in shown.content
        assert client.get(PAGE).status_code == 200  # nothing is searched


@pytest.mark.django_db
def test_a_search_that_fails_gives_its_place_back(client, monkeypatch):
    def broken(*args, **kwargs):
        raise MemoryError

    client.raise_request_exception = False
    with monkeypatch.context() as broken_model:
        broken_model.setattr(ColourEmbedder, "embed", broken)
        product(RED)
        assert [search(client, API, "text").status_code for _ in range(9)] == [500] * 9
        assert client.post(API, {"image": SimpleUploadedFile("a.png", b"none")}).status_code == 400
    assert search(client, API, "image").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("url", [API, PAGE])
def test_pictures_that_are_being_decoded_keep_other_pictures_waiting_and_no_words(client, url):
    with ExitStack() as places:
        for _ in range(2):
            places.enter_context(admitted("decoding"))
        assert is_busy(search(client, url, "image"))
        for _ in range(3):
            places.enter_context(admitted("text"))
        assert not is_busy(search(client, url, "text"))
    assert not is_busy(search(client, url, "image"))


def large():
    """A picture that takes long to decode for its few bytes."""
    content = BytesIO()
    Image.new("RGB", (4000, 3000)).save(content, "PNG")
    return SimpleUploadedFile("large.png", content.getvalue(), "image/png")


@pytest.mark.django_db
@pytest.mark.parametrize("url", [API, PAGE])
def test_large_pictures_keep_one_another_waiting_and_no_ordinary_ones(client, url):
    with admitted("large"):
        assert is_busy(client.post(url, {"image": large()}))
        for kind in ("image", "text"):
            assert not is_busy(search(client, url, kind))
    assert not is_busy(client.post(url, {"image": large()}))
    with admitted("decoding"), admitted("decoding"):
        assert is_busy(search(client, url, "image"))
        assert not is_busy(client.post(url, {"image": large()}))


def test_large_pictures_that_take_long_take_their_share_of_the_time_and_a_few_do_not_wait(monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr(access, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(access, "LARGE_BURST_SECONDS", 2.0)
    monkeypatch.setattr(access, "MAX_WAIT_SECONDS", 0)
    monkeypatch.setattr(access, "_places", Places())

    def decoded(seconds=0.5):
        with admitted("large"):
            now[0] += seconds
        return seconds

    assert (
        sum(decoded() for _ in range(5)) == 2.5
    )  # half a second more than they may at once: their place rests
    for _ in range(2):
        with pytest.raises(Busy):
            decoded()
        with admitted("decoding"), admitted("image"):
            now[0] += 1.2
    now[0] += 0.2
    begun, taken = now[0], 0.0
    while now[0] < begun + 100:
        try:
            taken += decoded()
        except Busy:
            now[0] += 0.5
    assert 0.7 * access.LARGE_SHARE <= taken / 100 <= access.LARGE_SHARE


@pytest.fixture
def clock(monkeypatch):
    """Stands still but when a large picture is decoded; what large pictures may take is as it is by default."""
    now = SimpleNamespace(seconds=1_000.0)
    stopped = SimpleNamespace(monotonic=lambda: now.seconds, time=time.time)
    monkeypatch.setattr(access, "time", stopped)
    monkeypatch.setattr(access, "LARGE_BURST_SECONDS", 0.5)
    monkeypatch.setattr(access, "MAX_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(access, "_places", Places())
    return now


def test_one_visitor_does_not_keep_the_large_pictures_of_others_away(settings, clock):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": "1000/min"}

    def comes(visitor):
        request = RequestFactory().post(API, REMOTE_ADDR=visitor)
        try:
            with admitted("large", request):
                clock.seconds += 0.1
        except Busy:
            return False
        return True

    came = sum(comes("10.0.0.1") for _ in range(20))
    assert 2 <= came < 5
    assert comes("10.0.0.2")
    other, begun = 0, clock.seconds
    while clock.seconds < begun + 100:
        other += comes("10.0.0.1")
        clock.seconds += 0.01
    most = 100 * access.LARGE_SHARE / 0.1
    assert 0.8 * most <= other <= 1.2 * most, "nobody else comes, and there is time that nobody takes"
    assert comes("10.0.0.3")


def test_a_visitor_who_had_no_large_picture_yet_waits_for_the_place_while_one_who_had_is_turned_away(
    settings, clock, monkeypatch
):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": "1000/min"}
    monkeypatch.setattr(access, "MAX_WAIT_SECONDS", 1.0)  # longer than the place rests after these
    earlier, later = (
        RequestFactory().generic("POST", API, CONTENT_LENGTH="6000000", REMOTE_ADDR=address)
        for address in ("10.0.0.1", "10.0.0.2")
    )
    with suppress(Busy), access.reading_body(later):
        raise Busy  # by its header, say
    while access._places._large_seconds <= access.LARGE_BURST_SECONDS:
        with access.reading_body(earlier):
            pass
    access.refuse_if_full(has_picture=True, unread=later)
    with pytest.raises(Busy):
        access.refuse_if_full(has_picture=True, unread=earlier)
    ticks = count(clock.seconds, 1e-9)
    monkeypatch.setattr(access.time, "monotonic", lambda: next(ticks))
    access.refuse_if_full(has_picture=True, unread=later)


@pytest.mark.django_db
@pytest.mark.parametrize("url", [API, PAGE])
def test_reading_large_posts_counts_whatever_is_in_them_and_most_of_a_stream_is_turned_away_unread(
    client, url, clock, monkeypatch
):
    """Nine megabytes of comments cost as much to read as a picture, and never reach a place."""
    read = []

    def parse(parser):
        read.append(parser)
        raise UnreadablePostError

    monkeypatch.setattr(access, "LARGE_BURST_SECONDS", 0.14)
    stream = SimpleUploadedFile("a.jpg", b"\xff\xd8" + bytes(6_000_000), "image/jpeg")
    answers = []
    with monkeypatch.context() as patch:
        patch.setattr(MultiPartParser, "parse", parse)
        for _ in range(20):
            stream.seek(0)
            answers.append(client.post(url, {"image": stream}))
    assert 5 <= len(read) <= 7
    assert all(is_busy(each) for each in answers[len(read) :])
    assert not is_busy(search(client, url, "image")), "no ordinary picture pays for it"


@pytest.mark.parametrize("error", [UnreadablePostError, ImageUnreadable, SuspiciousOperation])
def test_who_sends_large_posts_that_are_cut_off_or_refused_keeps_nobody_elses_large_picture_away(
    error, settings, clock
):
    """Such a post counts by its length, though it costs who sends it next to nothing: his share pays for it."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": "1000/min"}
    nuisance, other = (
        RequestFactory().generic("POST", API, CONTENT_LENGTH="6000000", REMOTE_ADDR=address)
        for address in ("10.0.0.1", "10.0.0.2")
    )

    def is_read():
        try:
            access.refuse_if_full(has_picture=True, unread=nuisance)
        except Busy:
            return False
        with suppress(QueryError), access.reading_body(nuisance):
            raise error
        return True

    assert 0 < sum(is_read() for _ in range(100)) < 20
    access.refuse_if_full(has_picture=True, unread=other)
    with admitted("large", other):
        clock.seconds += 0.1


def post_of(length):
    return RequestFactory().generic("POST", API, CONTENT_LENGTH=str(length))


def test_where_nobody_may_wait_no_large_picture_does(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_WAITING_SEARCHES": 0}
    with admitted("large"), pytest.raises(Busy):
        access.refuse_if_full(has_picture=True, unread=post_of(6_000_000))


@pytest.mark.django_db
@pytest.mark.parametrize("url", [API, PAGE, "/api/objects/"])
def test_a_post_that_is_turned_away_is_not_read(client, url, settings, monkeypatch):
    """Neither where its length alone says that it is large, nor above the visitor's rate of pictures."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "DETECTOR": {"BACKEND": "tests.shop.detectors.MugAndLamp"}}
    six_megabytes = SimpleUploadedFile("a.png", picture(RED).read() + bytes(6_000_000), "image/png")
    assert client.post(url, {"image": six_megabytes}).status_code == 200
    monkeypatch.setattr(MultiPartParser, "parse", lambda parser: pytest.fail("it was read"))
    six_megabytes.seek(0)
    monkeypatch.setattr(access._places, "_is_queue_full", lambda kind: kind == "large")
    with admitted("large"):
        assert is_busy(client.post(url, {"image": six_megabytes}))
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": {"image": "1/d"}}
    six_megabytes.seek(0)
    assert not seconds_to_wait(RequestFactory().get(url), "image")
    refused = client.post(url, {"image": six_megabytes})
    assert (refused.status_code, int(refused["Retry-After"]) > 0) == (429, True)


@pytest.mark.django_db
def test_no_picture_is_decoded_that_would_be_turned_away_afterwards(client, monkeypatch):
    decoded = []
    monkeypatch.setattr(examples, "decode", lambda *args, **kwargs: decoded.append(True))
    monkeypatch.setattr(access._places, "_is_queue_full", lambda kind: True)
    with admitted("image"), admitted("image"):
        assert is_busy(search(client, API, "image"))
    assert not decoded


def test_a_storm_leaves_no_more_inside_than_there_are_places(monkeypatch):
    """200 searches of 40 threads: each is admitted or turned away, never five at once, never three pictures."""
    monkeypatch.setattr(access, "MAX_WAIT_SECONDS", 30)
    inside, most, lock = {"text": 0, "image": 0}, [0, 0], threading.Lock()

    def visit(number):
        kind = "image" if number % 3 == 0 else "text"
        try:
            with admitted(kind):
                with lock:
                    inside[kind] += 1
                    most[:] = [max(most[0], sum(inside.values())), max(most[1], inside["image"])]
                threading.Event().wait(0.001)
                with lock:
                    inside[kind] -= 1
        except Busy:
            return "busy"
        return "admitted"

    with ThreadPoolExecutor(40) as threads:
        came = list(threads.map(visit, range(200)))
    assert most == [4, 2]
    assert came.count("admitted") >= 4
    assert came.count("admitted") + came.count("busy") == 200
    assert sum(access._places._taken.values()) == 0


@pytest.fixture
def visitors(monkeypatch):
    """Starts visitors that want a place, each in a thread, and keeps note of who came in, in turn."""
    monkeypatch.setattr(access, "MAX_WAIT_SECONDS", 30)
    came, leave = [], threading.Event()
    with ThreadPoolExecutor(32) as threads:

        def visit(kind):
            with admitted(kind):
                came.append(kind)
                leave.wait(30)

        visit.start = lambda kind: threads.submit(visit, kind)
        visit.came, visit.leave = came, leave
        yield visit
        leave.set()


def test_words_that_wait_go_before_pictures_that_wait_which_have_one_place_in_four(settings, monkeypatch):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_SEARCHES": 1}
    monkeypatch.setattr(access, "MAX_WAIT_SECONDS", 30)
    waiting, turns = access._places._waiting, []

    def visit(kind):
        with admitted(kind):
            turns.append(kind)

    with ThreadPoolExecutor(16) as threads, admitted("image"):
        for kind in ("image", "image", *["text"] * 8):
            count = len(waiting[kind])
            threads.submit(visit, kind)
            wait_until(lambda kind=kind, count=count: len(waiting[kind]) == count + 1, "it waits")
    words = ["text"] * 3
    assert turns == [*words, "image", *words, "image", "text", "text"]


def test_the_queue_is_bounded_and_whoever_finds_it_full_is_turned_away_at_once(visitors):
    waiting = access._places._waiting
    with ExitStack() as places:
        for _ in range(4):
            places.enter_context(admitted("text"))
        access.refuse_if_full(has_picture=False)  # there is still room in the queue
        for _ in range(8):
            visitors.start("text")
        wait_until(lambda: len(waiting["text"]) == 8, "the queue is full")
        with pytest.raises(Busy), admitted("text"):
            pass
        with pytest.raises(Busy):
            access.refuse_if_full(has_picture=False)
    visitors.leave.set()
    wait_until(lambda: len(visitors.came) == 8, "whoever waited was admitted")
    assert not waiting["text"]


def test_who_came_first_has_the_first_turn(settings, monkeypatch):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_SEARCHES": 1}
    monkeypatch.setattr(access, "MAX_WAIT_SECONDS", 30)
    waiting, turns = access._places._waiting["text"], []

    def visit(number):
        with admitted("text"):
            turns.append(number)

    with ThreadPoolExecutor(8) as threads, admitted("text"):
        for number in range(8):
            threads.submit(visit, number)
            wait_until(lambda number=number: len(waiting) == number + 1, "it waits")
    assert turns == list(range(8))


def test_words_that_would_be_turned_away_are_so_before_anything_was_read_or_counted(client, monkeypatch):
    monkeypatch.setattr(access._places, "_is_queue_full", lambda kind: True)
    monkeypatch.setattr("shopsearch.api.access.seconds_to_wait", lambda *args: pytest.fail("it was counted"))
    with ExitStack() as places:
        for _ in range(4):
            places.enter_context(admitted("text"))
        assert client.get(API, {"q": "red"}).status_code == 503


@pytest.mark.django_db
def test_what_is_turned_away_is_counted_by_kind(client):
    prometheus = pytest.importorskip("prometheus_client")

    def shed(kind):
        return prometheus.REGISTRY.get_sample_value("shopsearch_shed_total", {"kind": kind}) or 0

    before = {kind: shed(kind) for kind in ("text", "image")}
    with ExitStack() as places:
        for kind in ("image", "image"):
            places.enter_context(admitted(kind))
        search(client, API, "image")
        for _ in range(2):
            places.enter_context(admitted("text"))
        search(client, API, "text")
    assert {kind: shed(kind) - before[kind] for kind in before} == {"text": 1, "image": 1}


@pytest.mark.services
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_the_line_for_a_query_worker_is_bounded_too_and_shorter_for_pictures(redis_server):
    embedder = WorkerEmbedder(url=redis_server.url, most_waiting=4, timeout_seconds=0.5)
    embedder.bind(ColourEmbedder())
    words, image = Query(text="red"), Query(image=Image.new("RGB", (8, 8)))

    def is_turned_away(query):
        try:
            embedder.embed([query])
        except Busy:
            return True
        except EmbedderError:  # there is no worker
            return False

    client, waiting = redis_server.client(), b"shopsearch-query:1:colour"
    for length, turned_away in ((1, (False, False)), (2, (False, True)), (4, (True, True))):
        client.delete(waiting)
        client.rpush(waiting, *range(length))
        assert is_turned_away(image) == turned_away[1]
        client.delete(waiting)
        client.rpush(waiting, *range(length))
        assert is_turned_away(words) == turned_away[0]


@pytest.mark.django_db
def test_beyond_the_cap_of_open_reranks_a_search_is_answered_without_one_until_one_has_ended(
    client, settings
):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_OPEN_RERANKS": 2}
    for colour in (RED, BLUE, GREEN):
        product(colour)
    index_everything()

    def rerank(words):
        answer = client.get(API, {"q": words, "rerank": "true"}).json()
        assert len(answer["results"]) == 3
        return answer["rerank"]

    assert [bool(rerank(words)) for words in ("red", "blue", "green")] == [True, True, False]
    assert rerank("red")["state"] == "queued"  # one that there is already is no other
    Rerank.objects.filter(text="blue").update(state="done")
    assert rerank("green")["state"] == "queued"
