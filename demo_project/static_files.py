"""Static files whose addresses change with their content, so that browsers may keep them for good."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage

FOR_GOOD = "public, max-age=31536000, immutable"
"""The Cache-Control of an address with a version."""


class VersionedStaticFiles(StaticFilesStorage):
    """/static/a.css?v=0f3a…: unlike Django's manifest, it needs no collectstatic, and a file that is edited has another
    address at once.
    """

    def url(self, name: str | None) -> str:
        address = str(super().url(name))
        path = _found(name) if name else None
        return f"{address}?v={_version(path, path.stat().st_mtime_ns)}" if path else address


@lru_cache(maxsize=1_000)
def _found(name: str) -> Path | None:
    path = finders.find(name)
    return Path(path) if path else None


@lru_cache(maxsize=1_000)
def _version(path: Path, changed_at: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
