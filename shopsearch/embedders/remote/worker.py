"""The query worker: embeds the queries that web processes send, all that wait in one call."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from shopsearch.embedders.base import Embedder
from shopsearch.embedders.remote.messages import (
    BadMessage,
    Request,
    read_request,
    write_refusal,
    write_vectors,
)
from shopsearch.embedders.remote.queue import QueryQueue
from shopsearch.exceptions import QueryError
from shopsearch.telemetry import logs, metrics
from shopsearch.telemetry.outages import Outage

logger = logging.getLogger(__name__)
PAUSE_SECONDS = 0.5
"""The pause between two tries while Redis is away."""


class QueryWorker:
    """Answers requests until it is stopped. It survives bad requests and failures of the model or Redis."""

    def __init__(self, *, embedder: Embedder, requests: QueryQueue, batch_size: int) -> None:
        self.embedder = embedder
        self.requests = requests
        self.batch_size = batch_size
        self.embedded = 0
        """How many queries it has embedded."""
        self._stopping = threading.Event()

    def run(self) -> None:
        """Returns after ``stop()``, once the requests in hand are answered: within about a second."""
        import redis

        outage = Outage(logger, away="Redis is away", back="Redis is back.")
        while not self._stopping.is_set():
            try:
                taken = self.requests.take(self.batch_size)
                if taken:
                    self._answer(taken)
                outage.succeeded()
            except (redis.RedisError, OSError) as error:
                outage.failed(error)
                self._stopping.wait(PAUSE_SECONDS)

    def stop(self) -> None:
        """May be called from a signal handler or another thread."""
        self._stopping.set()

    def _answer(self, taken: Sequence[tuple[bytes, bytes]]) -> None:
        understood = []
        for number, content in taken:
            try:
                understood.append((number, read_request(content, self.embedder.space)))
            except BadMessage as error:
                logger.warning("A request was refused: %s", error)
                self.requests.answer(number, write_refusal(self.embedder.space, str(error)))
        if understood:
            self._embed(understood)

    def _embed(self, requests: Sequence[tuple[bytes, Request]]) -> None:
        """One call for all; if that fails, one for each, so that a bad query fails alone."""
        queries = [query for _, request in requests for query in request.queries]
        begun = time.perf_counter()
        try:
            vectors = self.embedder.embed(queries)
        except Exception as error:
            if len(requests) > 1:
                for each in requests:
                    self._embed([each])
                return
            with logs.request_id(requests[0][1].request_id):
                self.requests.answer(requests[0][0], self._refusal(error))
            return
        milliseconds = (time.perf_counter() - begun) * 1_000
        self.embedded += len(queries)
        metrics.count_queries(len(queries))
        start = 0
        for number, request in requests:
            part = vectors[start : start + len(request.queries)]
            self.requests.answer(number, write_vectors(self.embedder.space, part))
            start += len(request.queries)
            with logs.request_id(request.request_id):
                logger.info("Embedded in %.0f ms, %d in one call.", milliseconds, len(queries))

    def _refusal(self, error: Exception) -> bytes:
        if isinstance(error, QueryError):
            # As it is written, not in this process's language: whoever asks translates it.
            said = str(error) if error.values else error.message
            return write_refusal(self.embedder.space, said, is_the_callers=True)
        logger.error("A query could not be embedded.", exc_info=error)
        return write_refusal(self.embedder.space, "its log says why.")
