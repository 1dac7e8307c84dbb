"""manage.py shopsearch_purge: delete what is kept of shoppers' searches, when it is due or at once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from shopsearch.evaluation import query_log
from shopsearch.models import Rerank
from shopsearch.search import reranking


class Command(BaseCommand):
    help = (
        "Delete what has been kept of shoppers' searches as long as the settings allow: receipts of reranks, and "
        "collected queries without judgements. The workers' sweep does the same automatically."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--all",
            action="store_true",
            help="Delete all of it, whatever its age, including shoppers' judged queries and their judgements.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        reranking.expire()
        receipts = reranking.purge(everything=options["all"])
        queries = query_log.purge(everything=options["all"])
        self.stdout.write(f"Deleted: receipts of reranks {receipts}, collected queries {queries}.")
        left = Rerank.objects.open().count()
        if options["all"] and left:
            self.stdout.write(
                f"Reranks still running: {left}. They end within RERANK_DEADLINE_SECONDS; run this again then."
            )
