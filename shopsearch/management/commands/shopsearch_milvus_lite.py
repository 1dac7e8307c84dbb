"""manage.py shopsearch_milvus_lite: serve Milvus Lite, the vector store of a shop without a Milvus server."""

from __future__ import annotations

import os
import threading
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings

from shopsearch.management.command import ShopsearchCommand, stop_on_signals
from shopsearch.vector_stores.milvus.lite import LiteServer

_LOOK_SECONDS = 0.5


class Command(ShopsearchCommand):
    help = "Serve a directory as a Milvus server, for this machine's web server and workers. Ctrl-C stops it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--data-dir",
            default=Path(getattr(settings, "BASE_DIR", "")) / "milvus",
            help="The directory of the collections, by default %(default)s; created if missing.",
        )
        parser.add_argument(
            "--host", default="127.0.0.1", help="The address to listen on; there is no password."
        )
        parser.add_argument("--port", type=int, default=19530, help="0 takes a free one.")
        parser.add_argument(
            "--with-parent",
            metavar="PROCESS_ID",
            type=int,
            nargs="?",
            const=os.getppid(),
            help="Stop when this process, by default the one that starts the server, is no longer its parent.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        stop_on_signals(stop.set)
        server = LiteServer(data_dir=options["data_dir"], host=options["host"], port=options["port"])
        server.start()
        self.stdout.write(f"ready {server.uri}")
        self.stdout.flush()
        parent = options["with_parent"]
        while not stop.wait(_LOOK_SECONDS if parent else None):
            if os.getppid() != parent:
                break
        server.stop()
