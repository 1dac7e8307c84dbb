"""What the commands share: errors that end in a sentence, the signals that stop a process, lines for people."""

from __future__ import annotations

import signal
import textwrap
import threading
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from shopsearch.exceptions import BackendError
from shopsearch.indexing.rebuild import Refused


class ShopsearchCommand(BaseCommand):
    """What can be expected to go wrong ends the command with a sentence, without a traceback."""

    expected: tuple[type[Exception], ...] = (BackendError, ImproperlyConfigured, Refused)

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except self.expected as error:
            raise CommandError(str(error)) from error


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Call ``stop`` on SIGTERM and on Ctrl-C; in a thread of a test there are no signals."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop())


def titled(title: str, text: str) -> list[str]:
    """The text beside its title, within 80 columns."""
    return textwrap.wrap(f"{title:<12} {text}", 80, subsequent_indent=" " * 13, break_on_hyphens=False)
