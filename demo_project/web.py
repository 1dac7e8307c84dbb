"""The demo's web server: a thread per request, static files included, no reloader."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import cast

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.exceptions import SuspiciousFileOperation
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.middleware.gzip import GZipMiddleware

from demo_project.static_files import FOR_GOOD

HOST = "127.0.0.1"
TEXTS = ("text/css", "text/javascript", "application/javascript", "image/svg+xml")

logger = logging.getLogger(__name__)


class DemoServer(ThreadedWSGIServer):
    request_queue_size = 128


class DemoRequestHandler(WSGIRequestHandler):
    def address_string(self) -> str:
        """Skips asking the resolver for the name of this very machine."""
        return str(self.client_address[0])


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


def make_server(port: int) -> ThreadedWSGIServer:
    """A server that listens, and answers from ``serve_forever()`` on. Raises OSError for a port that is taken."""
    from demo_project.wsgi import application

    server = DemoServer((HOST, port), DemoRequestHandler)
    server.daemon_threads = True
    server.set_app(StaticFiles(application))
    return server


def warm_up() -> None:
    """Load beside the first pages what a search needs, so that the first one does not wait for it."""
    threading.Thread(target=_prepare, name="warm-up", daemon=True).start()


def _prepare() -> None:
    import pymilvus  # noqa: F401

    from shopsearch.api import views  # noqa: F401
    from shopsearch.backends import get_query_embedder
    from shopsearch.types import Query

    try:
        get_query_embedder().embed([Query(text="warm up")])
    except Exception:
        # A search will meet the same error, and can tell it to somebody.
        logger.exception("The embedder could not be loaded.")


def main(port: int) -> None:
    server = make_server(port)
    warm_up()

    def stop(signal_number: int, frame: FrameType | None) -> None:
        # shutdown() waits for serve_forever(), which this handler interrupted.
        threading.Thread(target=server.shutdown).start()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, stop)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")
    main(int(sys.argv[1]))
