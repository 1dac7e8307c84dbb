"""manage.py shopsearch_sweep: wake the workers whenever something is due, where they do not do so themselves."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from shopsearch import tasks
from shopsearch.management.command import stop_on_signals


class Command(BaseCommand):
    help = (
        "Wake the workers whenever something is due: a wake-up that was lost, a lease that ran out, a wait that is "
        "over. Celery's workers do so themselves; run it beside workers of Django's tasks framework. Ctrl-C stops it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Look once and end, for cron.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            tasks.sweep()
            return
        sweeper = tasks.Sweeper("shopsearch-sweeper")
        stop_on_signals(sweeper.stop)
        sweeper.run()
