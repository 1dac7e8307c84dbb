"""A query worker in a process of its own, over a real Redis: what WorkerEmbedder promises whatever dies."""

import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import redis
from PIL import Image

from shopsearch.embedders.remote import queue
from shopsearch.embedders.remote.embedder import WorkerEmbedder
from shopsearch.embedders.remote.messages import read_request, write_request
from shopsearch.embedders.remote.worker import QueryWorker
from shopsearch.exceptions import EmbedderError, QueryError
from shopsearch.testing import ColourEmbedder
from shopsearch.types import Query
from tests.embedders.contract import EmbedderContract, mixed_queries, picture
from tests.services.query_worker import QueryWorkerProcess
from tests.services.redis import RedisProcess
from tests.services.waiting import wait_until

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]
RED = Query(text="a red mug")


def embedder_of(url, *, embedder=None, **options):
    made = WorkerEmbedder(url=url, **options)
    made.bind(embedder or ColourEmbedder())
    return made


@pytest.fixture(scope="module")
def shared_redis():
    server = RedisProcess().start()
    yield server
    server.stop()


@pytest.fixture(scope="class")
def shared_worker(shared_redis, tmp_path_factory):
    worker = QueryWorkerProcess(tmp_path_factory.mktemp("worker") / "log", shared_redis.url).start()
    yield worker
    worker.kill()


class TestWorkerEmbedder(EmbedderContract):
    backend = "shopsearch.embedders.remote.WorkerEmbedder"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _a_worker(cls, shared_redis, shared_worker):
        cls.build = staticmethod(lambda: embedder_of(shared_redis.url, timeout_seconds=20))

    def test_its_space_and_dimension_are_known_without_loading_a_model(self):
        """They are those of the embedder that the workers run, and nobody is asked."""
        own = ColourEmbedder(space="another")
        embedder = embedder_of("redis://127.0.0.1:1/0", embedder=own)
        assert (embedder.space, embedder.dimension, own.embedded) == ("another", own.dimension, 0)

    def test_its_vectors_are_those_of_the_embedder_inline(self, embedder):
        queries = [
            *mixed_queries(9),
            Query(text="rojo \N{FIRE} \ud800"),
            Query(image=picture(1, (500, 300))),
        ]
        np.testing.assert_array_equal(embedder.embed(queries), ColourEmbedder().embed(queries))


@pytest.fixture
def make_worker(redis_server, tmp_path):
    """Makes and starts workers, and ends those that are left."""
    workers = []

    def start(**options):
        log = tmp_path / f"worker-{len(workers)}.log"
        workers.append(QueryWorkerProcess(log, redis_server.url, **options).start())
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


@pytest.fixture
def gate(tmp_path):
    """While this file is there, the worker is held in the middle of a picture."""
    return tmp_path / "gate"


def gated(gate):
    return {"BACKEND": "tests.faults.embedders.GatedColourEmbedder", "OPTIONS": {"gate": str(gate)}}


@pytest.fixture
def asked():
    with ThreadPoolExecutor(8) as threads:
        yield lambda embedder, query: threads.submit(embedder.embed, [query])


def test_a_worker_killed_in_the_middle_fails_the_query_in_time_and_the_next_worker_answers(
    redis_server, make_worker, run_worker, gate, asked
):
    worker = make_worker(embedder=gated(gate), timeout_seconds=3)
    embedder = embedder_of(redis_server.url, timeout_seconds=3)
    wait_until(lambda: answers(embedder), "queries are answered")
    gate.touch()
    answer = asked(embedder, Query(image=picture(1)))
    wait_until(gate.with_suffix(".reached").exists, "the worker embeds")
    worker.kill()
    with pytest.raises(EmbedderError, match="No query worker answered within 3 seconds"):
        answer.result(timeout=20)
    run_worker(embedder, ColourEmbedder())
    wait_until(lambda: answers(embedder), "queries are answered again")


def test_a_worker_that_is_asked_to_end_answers_what_it_has_in_hand(redis_server, make_worker, gate, asked):
    worker = make_worker(embedder=gated(gate), timeout_seconds=20)
    embedder = embedder_of(redis_server.url, timeout_seconds=20)
    gate.touch()
    answer = asked(embedder, Query(image=picture(1)))
    wait_until(gate.with_suffix(".reached").exists, "the worker embeds")
    worker.process.send_signal(signal.SIGTERM)
    gate.unlink()
    assert answer.result(timeout=20).shape == (1, 96)
    assert worker.process.wait(timeout=20) == 0
    assert "1 queries were embedded" in worker.log.read_text()


def test_a_worker_that_hangs_fails_queries_in_time_and_drops_them_when_it_goes_on(redis_server, make_worker):
    worker = make_worker(timeout_seconds=20)
    hasty = embedder_of(redis_server.url, timeout_seconds=0.3)
    worker.suspend()
    for _ in range(3):
        with pytest.raises(EmbedderError, match="No query worker answered"):
            hasty.embed([RED])
    worker.resume()
    embedder_of(redis_server.url, timeout_seconds=20).embed([RED])
    worker.stop()
    assert "; 1 queries were embedded" in worker.log.read_text()


def test_while_redis_is_silent_or_away_queries_fail_in_time_and_afterwards_the_next_one_is_answered(
    redis_server, make_worker
):
    make_worker(timeout_seconds=1)
    embedder = embedder_of(redis_server.url, timeout_seconds=1)
    wait_until(lambda: answers(embedder), "queries are answered")
    redis_server.suspend()
    with pytest.raises(EmbedderError, match="cannot be reached"):
        embedder.embed([RED])
    redis_server.resume()
    wait_until(lambda: answers(embedder), "queries are answered again")
    redis_server.stop()
    with pytest.raises(EmbedderError, match="cannot be reached"):
        embedder.embed([RED])
    redis_server.start()
    wait_until(lambda: answers(embedder), "queries are answered again")


def answers(embedder):
    try:
        return embedder.embed([RED]).shape == (1, 96)
    except EmbedderError:
        return False


def test_a_kept_connection_to_a_redis_that_was_restarted_costs_no_query(redis_server, run_worker):
    embedder = embedder_of(redis_server.url, timeout_seconds=5)
    run_worker(embedder, ColourEmbedder())
    embedder.embed([RED])
    redis_server.stop()
    redis_server.start()
    assert embedder.embed([RED]).shape == (1, 96)


@pytest.fixture
def run_worker(monkeypatch):
    """Runs workers of this process, ``run_worker(remote, embedder)``, and ends them."""
    monkeypatch.setattr(queue, "MAX_WAIT_SECONDS", 0.1)
    running = []

    def start(remote, embedder):
        requests = embedder_of(remote.url, embedder=embedder, timeout_seconds=20).requests
        worker = QueryWorker(embedder=embedder, requests=requests, batch_size=remote.batch_size)
        thread = threading.Thread(target=worker.run)
        thread.start()
        running.append((worker, thread))
        return worker

    yield start
    for worker, thread in running:
        worker.stop()
        thread.join(timeout=20)


class CountingEmbedder(ColourEmbedder):
    def __init__(self, **options):
        super().__init__(**options)
        self.calls = []

    def embed(self, queries):
        self.calls.append([query.text for query in queries])
        if any(query.text == "poison" for query in queries):
            raise MemoryError
        if any(query.text == "words alone" for query in queries):
            raise QueryError("Add a picture.")
        return super().embed(queries)


def waiting(url):
    return redis.Redis.from_url(url).llen("shopsearch-query:1:colour")


def test_what_waits_is_embedded_in_one_call_and_everybody_has_their_own_vector(
    redis_server, run_worker, asked
):
    embedder, counting = embedder_of(redis_server.url, timeout_seconds=20), CountingEmbedder()
    words = ["red", "green", "blue", "yellow", "pink"]
    answers = [asked(embedder, Query(text=word)) for word in words]
    wait_until(lambda: waiting(redis_server.url) == len(words), "all of them wait")
    run_worker(embedder, counting)
    for word, answer in zip(words, answers, strict=True):
        np.testing.assert_array_equal(answer.result(timeout=20), ColourEmbedder().embed([Query(text=word)]))
    assert [sorted(call) for call in counting.calls] == [sorted(words)]


def test_no_more_than_batch_size_requests_are_taken_at_once(redis_server, run_worker, asked):
    embedder, counting = embedder_of(redis_server.url, timeout_seconds=20, batch_size=2), CountingEmbedder()
    answers = [asked(embedder, Query(text=word)) for word in ("red", "green", "blue")]
    wait_until(lambda: waiting(redis_server.url) == 3, "all of them wait")
    run_worker(embedder, counting)
    assert all(answer.result(timeout=20).shape == (1, 96) for answer in answers)
    assert [len(call) for call in counting.calls] == [2, 1]


def test_a_query_that_the_model_cannot_embed_fails_alone(redis_server, run_worker, asked):
    embedder = embedder_of(redis_server.url, timeout_seconds=20)
    good, bad = asked(embedder, RED), asked(embedder, Query(text="poison"))
    wait_until(lambda: waiting(redis_server.url) == 2, "both wait")
    run_worker(embedder, CountingEmbedder())
    assert good.result(timeout=20).shape == (1, 96)
    with pytest.raises(EmbedderError, match="its log says why"):
        bad.result(timeout=20)


def test_a_query_that_the_model_refuses_is_told_to_whoever_can_mend_it(redis_server, run_worker):
    embedder = embedder_of(redis_server.url, timeout_seconds=20)
    run_worker(embedder, CountingEmbedder())
    with pytest.raises(QueryError, match="Add a picture"):
        embedder.embed([Query(text="words alone")])


def test_a_query_nobody_waits_for_any_more_is_forgotten_by_redis(redis_server):
    with pytest.raises(EmbedderError, match="shopsearch_query_worker"):
        embedder_of(redis_server.url, timeout_seconds=0.2).embed([RED])
    client = redis.Redis.from_url(redis_server.url)
    wait_until(lambda: not client.keys(), "Redis holds nothing")


def test_a_worker_of_another_space_never_sees_the_query(redis_server, run_worker):
    embedder = embedder_of(redis_server.url, timeout_seconds=1)
    other = run_worker(embedder, CountingEmbedder(space="another"))
    with pytest.raises(EmbedderError, match="with the same EMBEDDER"):
        embedder.embed([RED])
    assert other.embedder.calls == []


def test_a_request_of_another_space_or_version_is_refused_and_the_worker_goes_on(redis_server, run_worker):
    embedder, counting = embedder_of(redis_server.url, timeout_seconds=10), CountingEmbedder()
    run_worker(embedder, counting)
    for content in (
        write_request("another", [RED]),
        b"\x80\x04pickle",
        b'{"space": "colour", "queries": []}',
    ):
        assert b'"error"' in embedder.requests.ask(content, 10)
    assert embedder.embed([RED]).shape == (1, 96)
    assert counting.calls == [[RED.text]]


def test_garbage_for_an_answer_is_an_error_of_the_embedder(redis_server, asked):
    embedder = embedder_of(redis_server.url, timeout_seconds=10)
    answer = asked(embedder, RED)
    [(number, content)] = wait_until(lambda: embedder.requests.take(32), "the request is there")
    assert read_request(content, "colour").queries == [RED]
    embedder.requests.answer(number, b"\x80\x04garbage")
    with pytest.raises(EmbedderError, match="cannot be read"):
        answer.result(timeout=20)


def test_a_large_picture_is_sent_small():
    embedder = embedder_of("redis://127.0.0.1:1/0")
    for size, sent in (((2048, 1024), (1024, 512)), ((300, 200), (300, 200)), ((65_000, 1), (8192, 1))):
        assert embedder.reduced(Image.new("RGB", size)).size == sent
