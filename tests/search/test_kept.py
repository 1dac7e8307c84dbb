"""What a process keeps of the database for some seconds."""

import os
import signal
from threading import Event, Thread

import pytest

from shopsearch.search.kept import Kept


def test_a_value_is_read_once_and_again_after_its_seconds():
    read, seconds = [], [60.0]

    def reading(key, before):
        read.append((key, before))
        return len(read)

    kept = Kept(reading, lambda: seconds[0])
    assert [kept.get("a"), kept.get("a"), kept.get("b")] == [1, 1, 2]
    seconds[0] = 0
    assert kept.get("a") == 3
    assert read == [("a", None), ("b", None), ("a", 1)]
    seconds[0] = 60
    kept.forget(setting="OTHER")
    assert kept.get("a") == 3
    kept.forget(setting="SHOPSEARCH")
    assert (kept.get("a"), read[-1]) == (4, ("a", None))


def test_what_reading_raises_is_raised_and_the_next_call_reads_again():
    def reading(key, before):
        if not failed:
            failed.append(key)
            raise OSError("the database is away")
        return "read"

    failed = []
    kept = Kept(reading, lambda: 60)
    with pytest.raises(OSError, match="away"):
        kept.get("a")
    assert kept.get("a") == "read"


def test_while_one_thread_reads_anew_others_go_on_with_what_there_was():
    reads, may_end = Event(), Event()

    def reading(key, before):
        if before is None:
            return "old"
        reads.set()
        assert may_end.wait(30)
        return "new"

    seconds = [60]
    kept = Kept(reading, lambda: seconds[0])
    assert kept.get("a") == "old"
    seconds[0] = 0
    thread = Thread(target=kept.get, args=["a"])
    thread.start()
    assert reads.wait(30)
    assert kept.get("a") == "old"
    may_end.set()
    thread.join()
    seconds[0] = 60
    assert kept.get("a") == "new"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_process_that_is_forked_while_a_thread_reads_reads_by_itself():
    parent, reads, may_end = os.getpid(), Event(), Event()

    def reading(key, before):
        if os.getpid() == parent:
            reads.set()
            assert may_end.wait(30)
        return "read"

    kept = Kept(reading, lambda: 60)
    thread = Thread(target=kept.get, args=["a"])
    thread.start()
    assert reads.wait(30)
    child = os.fork()
    if not child:
        signal.alarm(10)  # ends a child that waits for ever
        os._exit(kept.get("a") != "read")
    assert os.waitpid(child, 0)[1] == 0
    may_end.set()
    thread.join()
