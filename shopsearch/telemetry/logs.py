"""Logs whose lines carry the id of their request, from the web process to the worker with the model."""

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
"""The attribute of Django's request that has the id."""

_request_id: ContextVar[str] = ContextVar("shopsearch_request_id", default="")


def new_request_id() -> str:
    return uuid.uuid4().hex


def sane_request_id(given: object) -> str:
    """The id if it consists of 1 to 128 letters, digits, dots, colons, hyphens and underscores, else "".

    An id from outside must pass this before it is written into logs, headers or a database.
    """
    return given if isinstance(given, str) and _SANE.fullmatch(given) else ""


def get_request_id() -> str:
    """The id of the current request; "" outside of one."""
    return _request_id.get()


@contextmanager
def request_id(given: str) -> Iterator[None]:
    """All that this thread or task logs meanwhile carries this request id."""
    token = _request_id.set(given)
    try:
        yield
    finally:
        _request_id.reset(token)


class RequestIDFilter(logging.Filter):
    """Gives every record a ``request_id`` for ``%(request_id)s``, "-" outside of a request. Drops no record."""

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
        except (TypeError, ValueError, RecursionError):  # keys that JSON cannot have, or a circular reference
            return json.dumps({key: _text(value) for key, value in line.items()})


def _id_of(record: logging.LogRecord) -> str:
    # Django logs an answer of 400 or more after the middleware has returned, but attaches the request.
    request = getattr(record, "request", None)
    known = getattr(record, "request_id", "") or getattr(request, REQUEST_ATTRIBUTE, "")
    return str(known or get_request_id() or "-")


def _text(value: object) -> str:
    """Text for a value that JSON does not know. Never raises: logging must not fail."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
