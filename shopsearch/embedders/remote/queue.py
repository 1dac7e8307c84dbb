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
"""Of the messages; part of every key, so that two versions of shopsearch never read each other's."""
CONNECT_SECONDS = 1.0
MARGIN_SECONDS = 0.25
"""So much less than its client does Redis wait for a reply: no reply and no Redis are then two things."""
MAX_WAIT_SECONDS = 1.0
"""So soon a waiting worker looks whether it is to stop."""


def broker_url() -> str:
    """The address of Celery's broker as Redis' client reads it; "" where the broker is not a Redis server."""
    from celery import current_app

    configured: Any = current_app.conf.broker_write_url or ""
    url = (configured if isinstance(configured, str) else configured[0]).split(";")[0]
    if url.startswith("redis+socket://"):
        parts = urlsplit(url)
        database = parse_qs(parts.query).get("virtual_host", ["0"])[0].strip("/")
        return f"unix://{parts.netloc}{parts.path}?db={database}"
    return url if url.startswith(("redis://", "rediss://")) else ""


def broker_prefix() -> str:
    """What the project's Celery puts before its keys."""
    from celery import current_app

    return str((current_app.conf.broker_transport_options or {}).get("global_keyprefix", ""))


@dataclass(kw_only=True, eq=False)
class QueryQueue:
    """Requests of one space. The list holds ids only; a request's content is a key of its own, which Redis forgets
    when nobody waits for the answer any more. So no clock but Redis' says what is too old, and nothing piles up.

    The verbs raise redis.RedisError, within ``timeout_seconds`` of Redis falling silent.
    """

    url: str = field(repr=False)
    name: str
    space: str
    timeout_seconds: float

    @cached_property
    def client(self) -> redis.Redis:
        """Connects at the first command. Raises ValueError for an address that is none."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return redis.Redis.from_url(
            self.url,
            protocol=2,  # with 3, a pool that is out of date would not be noticed after a restart
            socket_connect_timeout=min(CONNECT_SECONDS, self.timeout_seconds),
            socket_timeout=self.timeout_seconds,
            retry=Retry(NoBackoff(), 0),  # the caller has a deadline
        )

    def ask(self, content: bytes, seconds: float) -> bytes | None:
        """Send a request and wait for its reply: None when none came in so many seconds. One round trip."""
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
        """How many requests no worker has taken yet."""
        return int(self.client.llen(self._list))

    def take(self, most: int) -> list[tuple[bytes, bytes]]:
        """At most so many requests that still are waited for, with their ids; [] when there is none for a while."""
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
        """Send the reply to a request. It is forgotten when nobody takes it."""
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
