"""An embedder that has a worker embed queries, so that web processes hold no model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders.base import Embedder
from shopsearch.embedders.remote.messages import MAX_PIXELS, read_reply, write_request
from shopsearch.embedders.remote.queue import QueryQueue, broker_prefix, broker_url
from shopsearch.exceptions import Busy, EmbedderError
from shopsearch.telemetry import metrics

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Query, Vectors


@dataclass(kw_only=True, eq=False)
class WorkerEmbedder(Embedder):
    """Asks `manage.py shopsearch_query_worker` through Redis; for SHOPSEARCH["QUERY_EMBEDDER"].

    Space and dimension are those of SHOPSEARCH["EMBEDDER"], which the worker runs. Raises EmbedderError if no answer
    comes within ``timeout_seconds``, and Busy at once if too many requests wait. A failure does not affect the next
    query.
    """

    url: str = field(default="", repr=False)
    """Redis's address, ``redis://…``, ``rediss://…`` or ``unix://…``; "" is Celery's broker."""
    queue: str = "shopsearch-query"
    """The prefix of the keys in Redis. They also contain the space: a worker never sees another model's queries."""
    timeout_seconds: float = 5.0
    batch_size: int = 32
    """The most requests that a worker takes at once."""
    most_waiting: int = 128
    """With this many requests waiting, or half as many if the query is a picture, Busy is raised."""
    picture_side: int = 512
    """The shorter side of a picture that is sent, if the embedder does not reduce pictures itself."""
    _embedder: Embedder | None = field(default=None, init=False, repr=False)

    def bind(self, embedder: Embedder) -> None:
        """Set the embedder that the workers run. Here it only gives its space and dimension."""
        self._embedder = embedder

    @property
    def embedder(self) -> Embedder:
        if self._embedder is None:
            raise ImproperlyConfigured("WorkerEmbedder belongs into SHOPSEARCH['QUERY_EMBEDDER'].")
        return self._embedder

    @property
    def space(self) -> str:
        return self.embedder.space

    @property
    def dimension(self) -> int:
        return self.embedder.dimension

    def reduced(self, image: Image) -> Image:
        from PIL.Image import Resampling

        image = self.embedder.reduced(image)
        shorter, longer = sorted(image.size)
        factor = max(shorter / self.picture_side, longer / (MAX_PIXELS // self.picture_side))
        if factor <= 1:
            return image
        width, height = (max(1, math.floor(side / factor)) for side in image.size)
        return image.resize((width, height), Resampling.LANCZOS, reducing_gap=3)

    @cached_property
    def requests(self) -> QueryQueue:
        """The queue that the workers of this space read. Raises ImproperlyConfigured if there is no Redis."""
        if not (url := self.url or broker_url()):
            raise ImproperlyConfigured(_NO_REDIS)
        prefix = "" if self.url else broker_prefix()
        return QueryQueue(
            url=url, name=prefix + self.queue, space=self.space, timeout_seconds=self.timeout_seconds
        )

    def embed(self, queries: Sequence[Query]) -> Vectors:
        import numpy as np

        deadline = time.monotonic() + self.timeout_seconds
        parts = [np.zeros((0, self.dimension), np.float32)]
        for start in range(0, len(queries), self.batch_size):
            parts.append(self._ask(queries[start : start + self.batch_size], deadline))
        return np.concatenate(parts)

    def _ask(self, queries: Sequence[Query], deadline: float) -> Vectors:
        small = [
            query if query.image is None else replace(query, image=self.reduced(query.image))
            for query in queries
        ]
        kind = "text" if all(query.image is None for query in queries) else "image"
        reply = self._reply(write_request(self.space, small), deadline, kind)
        if reply is None:
            raise EmbedderError(
                f"No query worker answered within {self.timeout_seconds:g} seconds; is "
                "`manage.py shopsearch_query_worker` running, with the same EMBEDDER?"
            )
        return read_reply(reply, self.space, count=len(queries), dimension=self.dimension)

    def _reply(self, content: bytes, deadline: float, kind: str) -> bytes | None:
        import redis

        most_waiting = self.most_waiting if kind == "text" else math.ceil(self.most_waiting / 2)
        for is_last in (False, True):
            if (seconds := deadline - time.monotonic()) <= 0:
                return None
            try:
                if self.requests.waiting() >= most_waiting:
                    metrics.count_shed(kind)
                    raise Busy
                return self.requests.ask(content, seconds)
            except redis.ConnectionError as error:
                if is_last:  # the first may have used a connection from before a restart of Redis
                    raise EmbedderError(_REDIS_AWAY) from error
            except (redis.RedisError, OSError) as error:
                raise EmbedderError(_REDIS_AWAY) from error
        return None

    def check(self) -> list[CheckMessage]:
        hint = "See the options of shopsearch.embedders.remote.WorkerEmbedder in docs/how-to-query-worker.md."
        return [Error(message, hint=hint, id="shopsearch.E030") for message in self._wrong()]

    def _wrong(self) -> Iterator[str]:
        if not self.timeout_seconds > 0:
            yield "The query embedder's timeout_seconds must be above 0."
        if self.most_waiting < 1:
            yield "The query embedder's most_waiting must be at least 1."
        if self.batch_size < 1 or not 1 <= self.picture_side <= math.isqrt(MAX_PIXELS):
            most = math.isqrt(MAX_PIXELS)
            yield f"The query embedder's batch_size must be at least 1, and picture_side from 1 to {most}."
        if not self.queue:
            yield "The query embedder's queue needs a name."
        if not (url := self.url or broker_url()):
            yield _NO_REDIS
            return
        try:
            QueryQueue(url=url, name="", space="", timeout_seconds=1).client.close()
        except ValueError:
            yield "The query embedder's url is not an address of Redis: redis://…, rediss://… or unix://…."


_NO_REDIS = (
    "Queries reach a worker through Redis, and Celery's broker is not a Redis server: name one in "
    'SHOPSEARCH["QUERY_EMBEDDER"]["OPTIONS"]["url"], or set QUERY_EMBEDDER to None to embed in the web process.'
)
_REDIS_AWAY = "The queue of the query workers cannot be reached at the moment; try again shortly."
