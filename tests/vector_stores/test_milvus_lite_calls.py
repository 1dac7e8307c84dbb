"""Which calls Milvus Lite's server handles together, and which wait for each other."""

import os
import threading
from collections import Counter
from concurrent import futures
from types import SimpleNamespace

import pytest

from shopsearch.vector_stores.milvus.lite import Calls

PATIENCE_SECONDS = 60
SERVICE = "/milvus.proto.milvus.MilvusService/"
REQUEST = SimpleNamespace(db_name="", collection_name="shoes")
CONTEXT = SimpleNamespace(is_active=lambda: True, invocation_metadata=lambda: [("dbname", "default")])


def nothing(database, collection):
    raise AssertionError("nothing was written")


def test_a_write_has_no_other_write_and_no_search_beside_it():
    calls, lock = Calls(nothing), threading.Lock()
    under_way, seen = Counter(), []

    def handler(name):
        def handle(request, context):
            with lock:
                under_way[name] += 1
                seen.append(Counter(under_way))
            os.sched_yield()
            with lock:
                under_way[name] -= 1

        return calls.handler(SERVICE + name, handle)

    with futures.ThreadPoolExecutor(20) as threads:
        for name in 200 * ["Search", "Flush", "Query", "Upsert"]:
            threads.submit(handler(name), REQUEST, CONTEXT)
    assert len(seen) == 800
    writes = [each for each in seen if each["Flush"] or each["Upsert"]]
    assert len(writes) == 400
    assert {each.total() for each in writes} == {1}


def test_searches_go_on_together():
    together = threading.Barrier(3, timeout=PATIENCE_SECONDS)
    search = Calls(nothing).handler(SERVICE + "Search", lambda request, context: together.wait())
    with futures.ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(search, 3 * [REQUEST], 3 * [CONTEXT])) == [0, 1, 2]


def test_a_call_that_fails_keeps_nobody_waiting():
    calls = Calls(nothing)
    for name in ("Search", "Flush"):
        with pytest.raises(ZeroDivisionError):
            calls.handler(SERVICE + name, lambda request, context: 1 / 0)(None, CONTEXT)
    for name in ("Search", "Flush"):
        assert calls.handler(SERVICE + name, lambda request, context: "done")(None, CONTEXT) == "done"


@pytest.mark.parametrize("name", ["Search", "Upsert"])
def test_whoever_gave_up_while_waiting_is_not_served(name):
    class GivenUp(Exception):
        pass

    def abort(code, details):
        raise GivenUp

    gone, served = SimpleNamespace(is_active=lambda: False, abort=abort), []
    calls = Calls(nothing)
    with pytest.raises(GivenUp):
        calls.handler(SERVICE + name, lambda request, context: served.append(request))(REQUEST, gone)
    assert served == []
    calls.flush()


def test_only_collections_that_were_written_are_flushed_and_each_once():
    flushed = []
    calls = Calls(lambda database, collection: flushed.append((database, collection)))
    upsert = calls.handler(SERVICE + "Upsert", lambda request, context: None)
    for _ in range(3):
        upsert(REQUEST, CONTEXT)
    calls.flush()
    calls.flush()
    assert flushed == [("default", "shoes")]
