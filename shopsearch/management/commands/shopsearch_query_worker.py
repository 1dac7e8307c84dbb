"""manage.py shopsearch_query_worker: embed shoppers' queries, so that web processes need not hold the model."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from PIL import Image

from shopsearch import backends
from shopsearch.conf import build, settings
from shopsearch.embedders.base import Embedder
from shopsearch.embedders.remote.embedder import WorkerEmbedder
from shopsearch.embedders.remote.worker import QueryWorker
from shopsearch.management.command import ShopsearchCommand, stop_on_signals
from shopsearch.telemetry import metrics
from shopsearch.types import Query


class Command(ShopsearchCommand):
    help = (
        "Embed the queries of SHOPSEARCH['QUERY_EMBEDDER'] with SHOPSEARCH['EMBEDDER'], loaded once in this process. "
        "On SIGTERM or Ctrl-C it first answers the queries that it has taken. Several workers may run side by side."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--former",
            action="store_true",
            help="Use SHOPSEARCH['FORMER_EMBEDDER'] instead, as long as its collection is live.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        embedder = backends.get_former_embedder() if options["former"] else backends.get_embedder()
        if embedder is None:
            raise CommandError("There is no former model: SHOPSEARCH['FORMER_EMBEDDER'] is not set.")
        remote = self._remote(embedder)
        self.stdout.write(f"Loading {type(embedder).__name__} ...")
        self.stdout.flush()
        # Words and picture together: the first of each is slow, and some models cannot embed words alone.
        embedder.embed([Query(text="warm up", image=Image.new("RGB", (64, 64)))])
        worker = QueryWorker(embedder=embedder, requests=remote.requests, batch_size=remote.batch_size)
        stop_on_signals(worker.stop)
        self._connect(remote)
        metrics.serve()
        self.stdout.write(f"ready: embeds the queries of {remote.requests.name}, space {embedder.space}")
        self.stdout.flush()
        worker.run()
        self.stdout.write(f"Stopped; {worker.embedded} queries were embedded.")

    def _connect(self, remote: WorkerEmbedder) -> None:
        import redis

        try:
            remote.requests.client.ping()
        except (redis.RedisError, OSError) as error:
            self.stderr.write(f"Redis is away; the worker waits for it: {error}")

    def _remote(self, embedder: Embedder) -> WorkerEmbedder:
        remote = None if settings.QUERY_EMBEDDER is None else build("QUERY_EMBEDDER", Embedder)
        if not isinstance(remote, WorkerEmbedder):
            raise CommandError(
                "There is nothing to do: the web processes embed queries themselves. To change that, set "
                'SHOPSEARCH["QUERY_EMBEDDER"] = {"BACKEND": "shopsearch.embedders.remote.WorkerEmbedder"} for them '
                "and for this worker."
            )
        remote.bind(embedder)
        return remote
