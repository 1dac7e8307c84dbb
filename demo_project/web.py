"""The demo's web server: gunicorn's settings, and a server for a demo that is one process."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

from demo_project.static_files import StaticFiles

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"
RECEIVED_BYTES = 64 * 1024
STALL_SECONDS = 30
"""For how long a client may stop sending or reading: each holds one of the threads."""

# For `gunicorn --config python:demo_project.web`.
wsgi_app = "demo_project.web:application()"
# Threads of one process take turns; two processes use two processors.
workers = 2
# They share what is loaded before they part; libraries of macOS do not survive that.
preload_app = sys.platform == "linux"
worker_class = "gthread"
# More than there are searches that may run or wait, so that one more is turned away and does not wait for a thread.
threads = 32
limit_request_field_size = 64 * 1024  # a browser sends 127.0.0.1 the cookies of all its ports
limit_request_line = 0  # an address with the longest query has twelve thousand bytes, more than can be set
graceful_timeout = 10
"""Seconds; less than the launcher waits for each of its children."""
control_socket_disable = True  # it would be in the user's home folder, one for all demos

logger = logging.getLogger(__name__)


def application() -> WSGIApplication:
    """The shop with its static files, and what searches need already imported."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")
    shop = StaticFiles(get_wsgi_application())
    import shopsearch.api.views
    import shopsearch.storefront.views  # noqa: F401
    from shopsearch.vector_stores.milvus.connection import import_pymilvus

    import_pymilvus()
    return received(shop)


def received(shop: WSGIApplication) -> WSGIApplication:
    """The shop, which receives a post that it turns away unread: many a client that is cut off while it sends never
    reads why. Django's own server does this.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["gunicorn.socket"].settimeout(STALL_SECONDS)
        response = shop(environ, start_response)
        until = time.monotonic() + STALL_SECONDS
        # Whatever is wrong with the rest, the server closes the answer when it has tried to send it.
        with suppress(Exception):
            while environ["wsgi.input"].read(RECEIVED_BYTES) and time.monotonic() < until:
                pass
        return response

    return answer


def post_worker_init(worker: Any) -> None:
    """gunicorn calls it in each of its processes, when that has the project."""
    warm_up()


def warm_up() -> None:
    """Load the embedder beside the first pages, so that the first search does not wait for it."""
    threading.Thread(target=_prepare, name="warm-up", daemon=True).start()


def _prepare() -> None:
    from shopsearch.backends import get_query_embedder
    from shopsearch.types import Query

    try:
        get_query_embedder().embed([Query(text="warm up")])
    except Exception:
        # A search will meet the same error, and can tell it to somebody.
        logger.exception("The embedder could not be loaded.")


class DemoServer(ThreadedWSGIServer):
    """A thread for each request."""

    request_queue_size = 128


def make_server(port: int) -> ThreadedWSGIServer:
    """A server that listens, and answers from ``serve_forever()`` on. Raises OSError for a port that is taken."""
    server = DemoServer((HOST, port), WSGIRequestHandler)
    server.daemon_threads = True
    server.set_app(StaticFiles(get_wsgi_application()))
    return server
