"""A question to a server over HTTP, good or bad: an answer or RerankerError, in a bounded time, and nothing else."""

import traceback

import pytest
from django.core.exceptions import ImproperlyConfigured
from PIL import Image

from shopsearch.exceptions import RerankerError
from shopsearch.rerankers.http import Breaker
from shopsearch.rerankers.server import ServerReranker
from shopsearch.types import Candidate, Query
from tests.services.milvus import free_port

KEY = "sk-this-stays-between-us-42"
NEVER = 120.0
"""Seconds that no test waits: what ends before them ended by itself."""
PICTURE = Image.new("RGB", (32, 32))
QUERY = Query(text="a red mug", image=PICTURE)
TWO = [
    Candidate(product_id="1", image=PICTURE, text="a mug", score=0.9),
    Candidate(product_id="2", image=PICTURE, text="a red mug", score=0.8),
]


def reranker(server, **options):
    return ServerReranker(**{"url": server.url, "model": "tiny", "timeout_seconds": NEVER, **options})


# By step: how often the server is asked. What may be over soon is asked twice, the rest once.
FAULTS = {
    **dict.fromkeys(["408", "500", "502", "503", "error_in_200", "wait_briefly"], 2),
    **dict.fromkeys(["close", "reset", "cut_off", "cut_off_chunk", "no_http", "many_headers"], 2),
    **dict.fromkeys(["204", "400", "403", "404", "refuse_key", "refuse_field", "redirect", "wait_long"], 1),
    **dict.fromkeys(["html", "binary", "broken_json", "deep_json", "huge", "huge_length"], 1),
}


@pytest.mark.parametrize(("step", "asked"), FAULTS.items())
def test_a_fault_is_an_error_of_the_reranker(model_server, step, asked):
    model_server.will(step, content='{"ranking": [2, 1]}')
    with pytest.raises(RerankerError):
        reranker(model_server).rerank(QUERY, TWO)
    assert len(model_server.requests) == asked


@pytest.mark.parametrize("step", ["hang", "drip_headers", "drip_body", "say_continue"])
def test_a_server_that_never_ends_is_left_when_the_time_is_over(model_server, step):
    """Each goes on for ever, or for as long as somebody listens: that this test ends is what it asserts."""
    model_server.will(step)
    with pytest.raises(RerankerError, match="no answer within"):
        reranker(model_server, timeout_seconds=0.3, retries=3).rerank(QUERY, TWO)
    assert len(model_server.requests) == 1


@pytest.mark.parametrize("step", ["500", "reset", "cut_off", "wait_briefly"])
def test_what_is_over_at_the_next_try_is_never_seen(model_server, step):
    model_server.will(step, "write", content="[2, 1]")
    assert reranker(model_server).rerank(QUERY, TWO).labels == "[2, 1]"
    assert len(model_server.requests) == 2


def test_it_tries_as_often_as_it_is_told_and_time_allows(model_server):
    model_server.will("500")
    with pytest.raises(RerankerError):
        reranker(model_server, retries=3).rerank(QUERY, TWO)
    assert len(model_server.requests) == 4
    model_server.will("500")
    with pytest.raises(RerankerError):
        reranker(model_server, retries=10**6, timeout_seconds=1).rerank(QUERY, TWO)
    assert 1 <= len(model_server.requests) < 10


def test_nobody_there_is_an_error_of_the_reranker():
    nobody = ServerReranker(url=f"http://127.0.0.1:{free_port()}/v1", model="tiny", retries=0)
    with pytest.raises(RerankerError, match="no usable answer"):
        nobody.rerank(QUERY, TWO)


def test_a_server_that_speaks_no_tls_is_an_error_of_the_reranker(model_server):
    encrypted = model_server.url.replace("http://", "https://")
    with pytest.raises(RerankerError, match="no usable answer"):
        reranker(model_server, url=encrypted, retries=0).rerank(QUERY, TWO)


def test_after_failures_in_a_row_the_server_is_left_alone_then_tried_once(model_server):
    now = 0.0
    broken = reranker(model_server, retries=0, most_failures=3, pause_seconds=30)
    broken._endpoint.breaker.clock = lambda: now
    model_server.will("500", "500", "500", "500", "write", content="[2, 1]")
    for _ in range(5):
        with pytest.raises(RerankerError):
            broken.rerank(QUERY, TWO)
    assert len(model_server.requests) == 3
    for asked in (4, 4, 4):  # the pause is over: one is let through, fails, and the next pause begins
        now += 31 if asked > len(model_server.requests) else 0
        with pytest.raises(RerankerError):
            broken.rerank(QUERY, TWO)
        assert len(model_server.requests) == asked
    now += 31
    for asked in (5, 6):  # it is well again
        broken.rerank(QUERY, TWO)
        assert len(model_server.requests) == asked


def test_while_one_tries_after_the_pause_the_others_are_refused():
    now = 0.0
    breaker = Breaker(max_failures=1, pause_seconds=30, clock=lambda: now)
    breaker.failed()
    now = 31.0
    breaker.admit()
    with pytest.raises(RerankerError, match="asked again"):
        breaker.admit()
    breaker.succeeded()
    breaker.admit()


def test_a_request_that_the_server_does_not_want_says_nothing_about_the_server(model_server):
    picky = reranker(model_server, most_failures=1)
    model_server.will("refuse_field", "write", content="[2, 1]")
    with pytest.raises(RerankerError, match="response_format"):
        picky.rerank(QUERY, TWO)
    picky.rerank(QUERY, TWO)
    assert len(model_server.requests) == 2


@pytest.mark.parametrize("step", ["refuse_key", "echo", "500", "reset", "hang"])
@pytest.mark.parametrize("by_environment", [False, True])
def test_the_api_key_is_sent_and_told_to_nobody_else(model_server, monkeypatch, step, by_environment):
    monkeypatch.setenv("MODEL_KEY", KEY)
    seconds = 0.3 if step == "hang" else NEVER
    if by_environment:
        keyed = reranker(model_server, api_key_environment="MODEL_KEY", timeout_seconds=seconds, retries=0)
    else:
        keyed = reranker(model_server, api_key=KEY, timeout_seconds=seconds, retries=0)
    model_server.will(step)
    try:
        seen = keyed.rerank(QUERY, TWO)
    except RerankerError as error:
        # As an error report shows it: the chain of causes, each frame with its variables.
        seen = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert model_server.requests[0]["headers"]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in f"{seen}{keyed!r}{keyed.model}{keyed.check()}"


def test_an_api_key_that_no_header_can_carry_is_a_mistake_of_the_project(model_server):
    with pytest.raises(ImproperlyConfigured, match="API key") as raised:
        reranker(model_server, api_key=f"{KEY}\r\nX: 1").rerank(QUERY, TWO)
    assert KEY not in str(raised.value)
    assert model_server.requests == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"url": ""}, "url"),
        ({"url": "localhost:8000"}, "url"),
        ({"url": "file:///v1"}, "url"),
        ({"url": "http://[::1"}, "url"),
        ({"url": "http://localhost:99999"}, "url"),
        ({"url": "http://user:password@localhost/v1"}, "password"),
        ({"url": "http://localhost/v1?key=1"}, "url"),
        ({"model": ""}, "model"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"retries": -1}, "retries"),
        ({"most_candidates": 26}, "most_candidates"),
        ({"structured": "xml"}, "structured"),
    ],
)
def test_check_names_the_option_that_is_wrong(options, named):
    wrong = ServerReranker(**{"url": "http://localhost/v1", "model": "tiny", **options})
    [message] = wrong.check()
    assert message.id == "shopsearch.E022"
    assert named in message.msg


def test_check_warns_of_a_key_that_everybody_on_the_way_can_read():
    options = {"model": "tiny", "api_key": KEY}
    [message] = ServerReranker(url="http://models.example.com/v1", **options).check()
    assert message.id == "shopsearch.W010"
    for url in ("https://models.example.com/v1", "http://127.0.0.1:8000/v1"):
        assert ServerReranker(url=url, **options).check() == []
