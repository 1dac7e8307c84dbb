"""Each process's counts of its own work, for Prometheus; does nothing if prometheus-client is not installed.

What can be read from the database is not counted here: see ``shopsearch.api.metrics``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from shopsearch import conf
from shopsearch.conf import settings
from shopsearch.exceptions import ShopsearchError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

try:
    import prometheus_client
except ImportError:
    prometheus_client = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)
Stage = Literal["embed", "store", "database", "total"]
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""The histogram's upper bounds."""


class _Nothing:
    """A metric that does nothing, for an install without prometheus-client."""

    def labels(self, *values: str) -> _Nothing:
        return self

    def inc(self, amount: float = 1) -> None:
        pass

    def observe(self, amount: float) -> None:
        pass


def is_available() -> bool:
    """Whether prometheus-client is installed: the extra ``metrics``."""
    return prometheus_client is not None


def _counter(name: str, documentation: str, *labels: str) -> Any:
    return prometheus_client.Counter(name, documentation, labels) if is_available() else _Nothing()


def _histogram(name: str, documentation: str, *labels: str) -> Any:
    if not is_available():
        return _Nothing()
    return prometheus_client.Histogram(name, documentation, labels, buckets=SECONDS)


# In prometheus-client's default registry, so that whatever exposes the project's metrics exposes these too.
SEARCH_SECONDS = _histogram("shopsearch_search_seconds", "Searches and their stages that succeeded.", "stage")
SEARCH_FAILURES = _counter("shopsearch_search_failures", "Searches that raised, by stage.", "stage", "code")
INDEXED = _counter("shopsearch_indexed_images", "Images that this worker processed, by outcome.", "outcome")
QUERIES = _counter("shopsearch_query_worker_queries", "Queries that this query worker embedded.")
RERANKS = _counter("shopsearch_reranks", "Reranks that this process ended, by final state.", "state")
REPAIRS = _counter("shopsearch_rerank_repairs", "Repairs of the models' answers, by kind.", "kind")
THROTTLED = _counter("shopsearch_throttled", "Requests over a visitor's rate, by scope.", "scope")
SHED = _counter(
    "shopsearch_shed", "Searches and reranks refused because too many were running, by kind.", "kind"
)


@contextmanager
def timed(stage: Stage) -> Iterator[None]:
    """Measure the block as this stage of a search; works as a decorator too. Exceptions pass through."""
    start = time.perf_counter()
    try:
        yield
    except Exception as error:
        code = error.code if isinstance(error, ShopsearchError) else type(error).__name__
        SEARCH_FAILURES.labels(stage, code).inc()
        raise
    SEARCH_SECONDS.labels(stage).observe(time.perf_counter() - start)


def count_indexed(outcomes: Mapping[str, int]) -> None:
    """Count what became of a batch of images: ``embedded``, ``updated``, ``unchanged``, ``deleted``, and so on."""
    for outcome, number in outcomes.items():
        INDEXED.labels(outcome).inc(number)


def count_reranks(state: str, number: int = 1, repairs: Mapping[str, int] | None = None) -> None:
    """Count reranks that reached this final state, and the repairs of their answers."""
    if number:
        RERANKS.labels(state).inc(number)
    for kind, mended in (repairs or {}).items():
        REPAIRS.labels(kind).inc(mended)


def count_throttled(scope: str) -> None:
    THROTTLED.labels(scope).inc()


def count_shed(kind: str) -> None:
    """Count work that was refused so that the rest is answered in time: ``text``, ``image``, ``rerank``."""
    SHED.labels(kind).inc()


def count_queries(number: int) -> None:
    QUERIES.inc(number)


def registry() -> CollectorRegistry:
    """What this process counted; with PROMETHEUS_MULTIPROC_DIR, what all processes that share the folder counted."""
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return prometheus_client.REGISTRY
    from prometheus_client import multiprocess

    together = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


_serving = 0
"""The id of the process that serves Prometheus at a port of its own."""


def serve() -> None:
    """Serve Prometheus at METRICS_HOST and METRICS_PORT, from a thread, if a port is set: for workers.

    Starts once per process, however often it is called. If it cannot start, the log says why and the worker goes on.
    """
    global _serving
    if not settings.METRICS_PORT or _serving == os.getpid():
        return
    if not is_available():
        logger.warning(
            "METRICS_PORT is set, but there are no metrics: %s", conf.missing_packages("prometheus_client")
        )
        return
    address = f"{settings.METRICS_HOST}:{settings.METRICS_PORT}"
    try:
        prometheus_client.start_http_server(settings.METRICS_PORT, settings.METRICS_HOST, registry=registry())
    except (OSError, OverflowError, ValueError) as error:
        logger.warning("No metrics at %s, which another worker may have: %s", address, error)
    else:
        _serving = os.getpid()
        logger.info("Metrics are at http://%s/metrics.", address)
