"""The queue between web processes and query workers: lists in Redis that expire by themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

if TYPE_CHECKING:
    import redis

VERSION = 1
"""The messages' version, part of every key, so that two versions of shopsearch never read each other's messages."""
CONNECT_SECONDS = 1.0
MARGIN_SECONDS = 0.25
"""Redis waits this much less than its client, so that "no reply" can be told from "no Redis"."""
MAX_WAIT_SECONDS = 1.0
"""How often a waiting worker checks whether to stop."""


def broker_url() -> str:
    """The address of Celery's broker, in the form of Redis's client; "" if the broker is not a Redis server."""
    from celery import current_app

    configured: Any = current_app.conf.broker_write_url or ""
    url = (configured if isinstance(configured, str) else configured[0]).split(";")[0]
    if url.startswith("redis+socket://"):
        parts = urlsplit(url)
        database = parse_qs(parts.query).get("virtual_host", ["0"])[0].strip("/")
        return f"unix://{parts.netloc}{parts.path}?db={database}"
    return url if url.startswith(("redis://", "rediss://")) else ""


def broker_prefix() -> str:
    """The prefix that the project's Celery gives its keys."""
    from celery import current_app

    return str((current_app.conf.broker_transport_options or {}).get("global_keyprefix", ""))


@dataclass(kw_only=True, eq=False)
class QueryQueue:
    """The requests of one space.

    The list holds only ids. Each request's content has a key of its own, which expires when its client stops waiting.
    So Redis's clock alone decides what is too old, and nothing piles up.

    All methods raise redis.RedisError within ``timeout_seconds`` if Redis does not answer.
    """

    url: str = field(repr=False)
    name: str
    space: str
    timeout_seconds: float

    @cached_property
    def client(self) -> redis.Redis:
        """Connects at the first command. Raises ValueError if ``url`` is not an address."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return redis.Redis.from_url(
            self.url,
            protocol=2,  # with 3, stale connections would not be noticed after a restart of Redis
            socket_connect_timeout=min(CONNECT_SECONDS, self.timeout_seconds),
            socket_timeout=self.timeout_seconds,
            retry=Retry(NoBackoff(), 0),  # the caller has a deadline
        )

    def ask(self, content: bytes, seconds: float) -> bytes | None:
        """Send a request and wait for its reply; None if none comes within ``seconds``. One round trip."""
        wait = max(seconds / 2, seconds - MARGIN_SECONDS)
        number, milliseconds = uuid4().hex.encode(), max(1, int(wait * 1_000))
        pipeline = self.client.pipeline(transaction=False)
        pipeline.set(self._key(number, b"request"), content, px=milliseconds)
        pipeline.rpush(self._list, number)
        pipeline.pexpire(self._list, milliseconds)
        pipeline.blpop([self._key(number, b"reply")], timeout=wait)
        reply = pipeline.execute()[-1]
        return None if reply is None else reply[1]

    def waiting(self) -> int:
        """How many requests wait for a worker."""
        return int(self.client.llen(self._list))

    def take(self, most: int) -> list[tuple[bytes, bytes]]:
        """Up to ``most`` requests whose clients still wait, with their ids; [] if none comes for a while."""
        wait = min(MAX_WAIT_SECONDS, self.timeout_seconds / 2)
        first: Any = self.client.blpop([self._list], timeout=wait)
        if first is None:
            return []
        numbers = [first[1]]
        if most > 1:
            pipeline = self.client.pipeline(transaction=True)
            pipeline.lrange(self._list, 0, most - 2)
            pipeline.ltrim(self._list, most - 1, -1)
            numbers += pipeline.execute()[0]
        keys = [self._key(number, b"request") for number in numbers]
        pipeline = self.client.pipeline(transaction=True)
        pipeline.mget(keys)
        pipeline.delete(*keys)
        contents = pipeline.execute()[0]
        return [
            (number, content)
            for number, content in zip(numbers, contents, strict=True)
            if content is not None
        ]

    def answer(self, number: bytes, content: bytes) -> None:
        """Send the reply to a request. It expires if nobody takes it."""
        key = self._key(number, b"reply")
        pipeline = self.client.pipeline(transaction=True)
        pipeline.rpush(key, content)
        pipeline.pexpire(key, max(1, int(self.timeout_seconds * 1_000)))
        pipeline.execute()

    @property
    def _list(self) -> bytes:
        return f"{self.name}:{VERSION}:{self.space}".encode()

    def _key(self, number: bytes, part: bytes) -> bytes:
        return b":".join([self._list, number, part])
