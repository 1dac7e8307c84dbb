"""Logs whose lines say which request they belong to, from the page to the worker with the model."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}")
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
REQUEST_ATTRIBUTE = "shopsearch_request_id"
"""What a request of Django's has its id as."""

_request_id: ContextVar[str] = ContextVar("shopsearch_request_id", default="")


def new_request_id() -> str:
    return uuid.uuid4().hex


def sane_request_id(given: object) -> str:
    """The id if it is 1 to 128 letters, digits, dots, colons, hyphens and underscores, and "" for anything else.

    What comes from outside is written into logs, headers and a database only after this.
    """
    return given if isinstance(given, str) and _SANE.fullmatch(given) else ""


def get_request_id() -> str:
    """The id of the request that is being answered here; "" outside of one."""
    return _request_id.get()


@contextmanager
def request_id(given: str) -> Iterator[None]:
    """Whatever is logged meanwhile, in this thread or task, belongs to the request of this id."""
    token = _request_id.set(given)
    try:
        yield
    finally:
        _request_id.reset(token)


class RequestIDFilter(logging.Filter):
    """Gives every record a ``request_id``, "-" outside of a request, for ``%(request_id)s``; drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _id_of(record)
        return True


class JSONFormatter(logging.Formatter):
    """One JSON object per line: time in UTC, level, logger, message, request_id, process, error and ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": _id_of(record),
            "process": record.process,
        }
        line |= {key: value for key, value in vars(record).items() if key not in {*_STANDARD, *line}}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        try:
            return json.dumps(line, default=_text)
        except (TypeError, ValueError, RecursionError):  # keys that JSON cannot have, or a circle
            return json.dumps({key: _text(value) for key, value in line.items()})


def _id_of(record: logging.LogRecord) -> str:
    # Django logs an answer of 400 and more when the middleware is done with it, but says which request it was.
    request = getattr(record, "request", None)
    known = getattr(record, "request_id", "") or getattr(request, REQUEST_ATTRIBUTE, "")
    return str(known or get_request_id() or "-")


def _text(value: object) -> str:
    """Whatever JSON does not know, and no failure of its own: a line of a log must not fail."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
