"""Where the demo's broker, cache and vector store listen: chosen by the launcher, read by whoever joins later."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

FILE_NAME = "addresses.json"
LOCK_NAME = "lock"
"""The launcher holds it for as long as it runs."""


@dataclass(frozen=True, kw_only=True)
class Addresses:
    broker_url: str = "memory://"
    cache_url: str = ""
    """The cache that several web processes share; "": each process has its own."""
    milvus_uri: str = "http://127.0.0.1:19530"
    query_worker: bool = False
    """Whether a query worker listens at the broker, so that the web process holds no model."""

    def as_environment(self) -> dict[str, str]:
        """What a child process needs to find the same servers."""
        return {
            "REDIS_URL": self.broker_url,
            "DEMO_CACHE_URL": self.cache_url,
            "SHOPSEARCH_MILVUS_URI": self.milvus_uri,
            "SHOPSEARCH_QUERY_WORKER": "1" if self.query_worker else "",
        }


def read_addresses(demo_dir: Path) -> Addresses:
    """The environment's word; else that of the demo that is running, so that any command finds its servers.

    A launcher that was killed leaves its addresses behind. They are nobody's: a demo of one process would ask a query
    worker and a cache that are gone.
    """
    try:
        running = json.loads((demo_dir / FILE_NAME).read_text()) if _is_running(demo_dir) else {}
    except (OSError, ValueError):
        running = {}
    known = asdict(Addresses()) | {key: value for key, value in running.items() if key in asdict(Addresses())}
    return Addresses(
        broker_url=os.environ.get("REDIS_URL") or known["broker_url"],
        cache_url=str(os.environ.get("DEMO_CACHE_URL", known["cache_url"])),
        milvus_uri=os.environ.get("SHOPSEARCH_MILVUS_URI") or known["milvus_uri"],
        query_worker=bool(os.environ.get("SHOPSEARCH_QUERY_WORKER", known["query_worker"])),
    )


def _is_running(demo_dir: Path) -> bool:
    with (demo_dir / LOCK_NAME).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_database(url: str) -> dict[str, Any] | None:
    """Django's settings of the PostgreSQL database at ``postgresql://user:password@host:port/name``; None for "".

    A password is quoted as in any URL.
    """
    parts = urlsplit(url)
    if not url:
        return None
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError("DEMO_DATABASE_URL must begin with postgresql://.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.removeprefix("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": parts.port or "",
    }


def write_addresses(demo_dir: Path, addresses: Addresses) -> None:
    (demo_dir / FILE_NAME).write_text(json.dumps(asdict(addresses)))


def forget_addresses(demo_dir: Path) -> None:
    (demo_dir / FILE_NAME).unlink(missing_ok=True)


def transport_options(broker_url: str, demo_dir: Path) -> dict[str, object]:
    """In memory looking often is cheap; on Redis the demo keeps to keys of its own."""
    if broker_url == "memory://":
        return {"polling_interval": 0.02}
    if broker_url.startswith("redis"):
        return {"global_keyprefix": key_prefix(demo_dir)}
    return {}


def key_prefix(demo_dir: Path) -> str:
    """What this demo's keys begin with on a Redis that others use too."""
    return f"shopsearch-demo-{sha256(str(demo_dir).encode()).hexdigest()[:8]}:"


def use_addresses(demo_dir: Path, addresses: Addresses) -> None:
    """Point this process, whose settings were read before the servers had addresses, at them."""
    from django.conf import settings

    from demo_project.celery import app
    from shopsearch import backends

    settings.SHOPSEARCH["VECTOR_STORE"]["OPTIONS"]["uri"] = addresses.milvus_uri
    app.conf.update(
        broker_url=addresses.broker_url,
        broker_transport_options=transport_options(addresses.broker_url, demo_dir),
    )
    backends.forget()
