"""Static files, served by the demo: their addresses change with their content, so browsers may keep them for good."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import cast

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.core.exceptions import SuspiciousFileOperation
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.middleware.gzip import GZipMiddleware

FOR_GOOD = "public, max-age=31536000, immutable"
"""The Cache-Control of an address with a version."""
TEXTS = ("text/css", "text/javascript", "application/javascript", "image/svg+xml")


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


class StaticFiles(StaticFilesHandler):
    """Serves the static files before the application is asked."""

    def serve(self, request: HttpRequest) -> HttpResponse | FileResponse:
        try:
            response = super().serve(request)
        except SuspiciousFileOperation as error:  # /static/../…: Django would answer 500
            raise Http404 from error
        if "v" in request.GET:
            response["Cache-Control"] = FOR_GOOD
        if not response.streaming or response["Content-Type"] not in TEXTS:
            return response
        whole = HttpResponse(response.getvalue(), headers=dict(response.headers))
        return cast("HttpResponse", GZipMiddleware(lambda _: whole).process_response(request, whole))
