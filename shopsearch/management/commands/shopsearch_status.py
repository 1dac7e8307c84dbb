"""manage.py shopsearch_status: what is indexed, what waits, what failed, and what is away."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from shopsearch import registry
from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.broker import get_wake_up
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError
from shopsearch.indexing import progress, rebuild
from shopsearch.management.command import titled
from shopsearch.models import Collection, IndexEntry
from shopsearch.registry import get_index, get_indexes
from shopsearch.search import diagnosis
from shopsearch.search.diagnosis import Problem
from shopsearch.search.retrieval import finds_by_words
from shopsearch.threads import within

MODEL_SECONDS = 30.0
STORE_SECONDS = 10.0
BROKER_SECONDS = 4.0
"""The longest wait for each of these, whatever the deadlines of its client are."""
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
FAILURES_SHOWN = 3
Answer = TypeVar("Answer")


@dataclass(kw_only=True)
class ServiceStatus:
    """A part that can be away. ``error`` says what is wrong with it, "" where nothing is."""

    name: str
    reachable: bool = False
    error: str = ""

    def ask(self, question: Callable[[], Answer], seconds: float | None = None) -> Answer | None:
        """The answer; None after an error, which is kept in ``error``. Waits at most ``seconds``, where given."""
        try:
            answer = question() if seconds is None else within(seconds, question)
        except (BackendError, DatabaseError, ImproperlyConfigured, OSError) as error:
            self.error = str(error) or type(error).__name__
            return None
        except Exception as error:
            # Broker clients may raise anything; the status must be printed all the same.
            self.error = f"{type(error).__name__}: {error}"
            return None
        self.reachable = True
        return answer


@dataclass(kw_only=True)
class IndexStatus:
    """One index: its outbox rows by state, and its collection. None where a value is unknown."""

    name: str
    states: dict[str, int] | None = None
    oldest_waiting_seconds: int | None = None
    collection: str | None = None
    """The live collection; "" before anything is indexed."""
    space: str | None = None
    retrieval: str | None = None
    """How its products are found: hybrid, or vectors."""
    building: list[dict[str, Any]] = field(default_factory=list)
    """The collection that is being filled beside the live one, if any."""
    entities: int | None = None
    failures: list[dict[str, str]] = field(default_factory=list)


@dataclass(kw_only=True)
class Status:
    """What --json prints."""

    healthy: bool
    model: dict[str, Any]
    database: ServiceStatus
    vector_store: ServiceStatus
    broker: ServiceStatus
    workers: dict[str, Any]
    indexes: list[IndexStatus]
    problems: list[Problem]
    """What is wrong with the indexes, the worst first."""


class Command(BaseCommand):
    help = (
        "Print what is indexed, what waits, what failed and what is away. Exit code 1 if something is wrong."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="Print one JSON object, for programs to read."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        status = read_status()
        if options["json"]:
            self.stdout.write(json.dumps(asdict(status), indent=2))
        else:
            self.stdout.write("\n".join(lines_of(status)))
        if not status.healthy:
            sys.exit(1)


def read_status() -> Status:
    """Ask every part for its state. Does not raise if some are away, and returns within seconds."""
    indexes = {index.name: IndexStatus(name=index.name) for index in get_indexes()}
    model = ServiceStatus(name=settings.EMBEDDER["BACKEND"])
    store = ServiceStatus(name=settings.VECTOR_STORE["BACKEND"])
    database, broker = ServiceStatus(name=connection.vendor), ServiceStatus(name="")
    database.ask(lambda: _read_database(indexes))
    identity = model.ask(_identify, MODEL_SECONDS) or {"space": None, "dimension": None}
    if model.reachable and database.reachable:
        database.ask(lambda: _say_obstacles(indexes))
    store.ask(lambda: _count_entities(indexes), STORE_SECONDS)
    if not store.reachable:
        store.error += _how_to_start_it()
    problems: list[Problem] = []
    if database.reachable:
        counts = {name: index.states for name, index in indexes.items() if index.states is not None}
        problems = database.ask(lambda: diagnosis.diagnose(ask_store=store.reachable, counts=counts)) or []
    broker.ask(lambda: _ask(broker), BROKER_SECONDS)
    workers = ServiceStatus(name=settings.INDEX_QUEUE)
    answering = None
    if broker.reachable:
        answering = workers.ask(lambda: get_wake_up().count_workers(), BROKER_SECONDS)
    return Status(
        healthy=all(part.reachable and not part.error for part in (database, model, store, broker))
        and all(problem.level == "note" for problem in problems),
        model={"backend": model.name, **identity, "error": model.error},
        database=database,
        vector_store=store,
        broker=broker,
        workers={"queue": settings.INDEX_QUEUE, "answering": answering},
        indexes=list(indexes.values()),
        problems=problems,
    )


def _read_database(indexes: dict[str, IndexStatus]) -> None:
    executor = MigrationExecutor(connection)
    leaves = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "shopsearch"]
    if executor.migration_plan(leaves):
        raise ImproperlyConfigured("Tables of shopsearch are missing or old: run `manage.py migrate`.")
    _read_outbox(indexes)
    _read_collections(indexes)


def _read_outbox(indexes: dict[str, IndexStatus]) -> None:
    for name, states in progress.counts().items():
        # There may be rows left of an index that is no longer registered.
        indexes.setdefault(name, IndexStatus(name=name)).states = states
    for name, since in progress.waiting_since().items():
        indexes[name].oldest_waiting_seconds = max(0, round((timezone.now() - since).total_seconds()))
    for using in registry.databases():
        for name, status in indexes.items():
            failed = IndexEntry.objects.using(using).failed().filter(index=name).order_by("pk")
            for entry in failed[: FAILURES_SHOWN - len(status.failures)]:
                status.failures.append({"image_id": entry.image_id, "error": entry.error})


def _read_collections(indexes: dict[str, IndexStatus]) -> None:
    for index in get_indexes():
        status, live = indexes[index.name], Collection.objects.of(index).live().first()
        status.collection, status.space = (live.name, live.space) if live else ("", None)
        if live:
            status.retrieval = "hybrid" if finds_by_words(index, live) else "vectors"
        if new := Collection.objects.of(index).unfinished().first():
            status.building.append(
                {
                    "name": new.name,
                    "state": new.state,
                    "done": new.stored.count(),
                    "total": new.total,
                    "error": new.error,
                }
            )


def _identify() -> dict[str, Any]:
    return {"space": get_embedder().space, "dimension": get_embedder().dimension}


def _say_obstacles(indexes: dict[str, IndexStatus]) -> None:
    for status in indexes.values():
        index = get_index(status.name)
        if status.building and (new := Collection.objects.of(index).unfinished().first()):
            status.building[0]["error"] = rebuild.obstacle(index, new)


def _count_entities(indexes: dict[str, IndexStatus]) -> None:
    store = get_vector_store()
    store.collections()
    for status in indexes.values():
        if status.collection:
            status.entities = store.count(status.collection)


def _how_to_start_it() -> str:
    """A hint for a store that should run on this machine, and may not have been started."""
    try:
        address = getattr(get_vector_store(), "uri", "")
    except ImproperlyConfigured:
        return ""
    if urlsplit(address).hostname not in THIS_MACHINE:
        return ""
    return f" Nothing answers at {address}: is `manage.py shopsearch_milvus_lite` running?"


def _ask(broker: ServiceStatus) -> None:
    wake_up = get_wake_up()
    broker.name = wake_up.name
    wake_up.ask()


def lines_of(status: Status) -> Iterator[str]:
    """The status for people, within 80 columns."""
    yield from titled("Model", status.model["error"] or status.model["backend"])
    if not status.model["error"]:
        yield from titled("", f"space {status.model['space']}, {status.model['dimension']} dimensions")
    parts = {"Database": status.database, "Store": status.vector_store, "Broker": status.broker}
    for title, part in parts.items():
        yield from titled(title, f"reachable: {part.name}" if part.reachable else f"AWAY: {part.error}")
    if status.workers["answering"]:
        yield from titled("Workers", f"{status.workers['answering']} on the queue {status.workers['queue']}")
    elif status.broker.reachable:
        yield from titled(
            "Workers",
            f"none on the queue {status.workers['queue']}, or busy: none answers, and a solo worker answers only "
            "between two batches",
        )
    for index in status.indexes:
        yield from ("", index.name)
        yield from titled("  rows", _rows(index))
        entities = "unknown" if index.entities is None else f"{index.entities:,}"
        yield from titled("  entities", f"{entities} in {index.collection}" if index.collection else entities)
        for new in index.building:
            progress = f"{new['done']:,} of {new['total']:,} images are in {new['name']}, {new['state']}"
            yield from titled("  rebuild", f"{progress}. {new['error']}" if new["error"] else progress)
        for failure in index.failures:
            yield from titled("  failed", f"{failure['image_id']}: {failure['error']}")
    if status.problems:
        yield ""
    for problem in status.problems:
        yield from titled("Note" if problem.level == "note" else "Problem", problem.sentence)
    yield from ("", _verdict(status))


def _verdict(status: Status) -> str:
    parts = (status.database, status.vector_store, status.broker)
    if status.model["error"] or not all(part.reachable for part in parts):
        return "Something is away: see above."
    if not status.healthy:
        return "Something is wrong: see above."
    return "Search works; there is more to do: see the notes above." if status.problems else "All is well."


def _rows(index: IndexStatus) -> str:
    if index.states is None:
        return "unknown"
    counts = [f"{count:,} {state}" for state, count in index.states.items() if count] or ["none"]
    if index.oldest_waiting_seconds is not None:
        counts.append(f"the oldest waiting for {diagnosis.duration(index.oldest_waiting_seconds)}")
    return ", ".join(counts)
