"""Refusals: what the REST API answers in place of a result, in one form: ``{"code", "detail"}``."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.http import JsonResponse
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler as rest_framework_handler

from shopsearch.exceptions import BackendError, Busy, QueryError

logger = logging.getLogger(__name__)


def answer_to_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """What the API says of an error: ``{"code", "detail"}``. None for a bug, which is Django's to report."""
    if isinstance(error, BackendError):
        detail = _(str(error))
        if not isinstance(error, Busy):
            # Its own words may name a server that is nobody's business; they are for the log.
            logger.warning("Search is unavailable: %s", error, exc_info=error)
            detail = _("Search is away for the moment; try again shortly.")
        return Response(
            {"code": error.code, "detail": detail},
            status=status.HTTP_503_SERVICE_UNAVAILABLE,
            headers={"Retry-After": str(error.retry_after_seconds)},
        )
    if isinstance(error, QueryError):
        return Response({"code": error.code, "detail": str(error)}, status=status.HTTP_400_BAD_REQUEST)
    if isinstance(error, SuspiciousOperation):
        detail = _("The request has too many fields or too large ones; send fewer.")
        return Response({"code": "invalid", "detail": detail}, status=status.HTTP_400_BAD_REQUEST)
    response = rest_framework_handler(error, context)
    if response is not None and isinstance(error, ParseError):
        detail = _("The request cannot be read (%(why)s); send a form or JSON.") % {"why": error.detail}
        response.data = {"code": error.default_code, "detail": detail}
    elif response is not None and isinstance(error, APIException):
        code = QueryError.code if isinstance(error, ValidationError) else _first(error.get_codes())
        response.data = {"code": code, "detail": _first(error.detail)}
    elif response is not None:
        detail = _("There is nothing here in that format; ask for JSON.")
        response.data = {"code": "not_found", "detail": detail}
    return response


def turned_away(error: Busy) -> JsonResponse:
    """The same answer without REST framework."""
    headers = {"Retry-After": str(error.retry_after_seconds), "Cache-Control": "no-store"}
    return JsonResponse({"code": error.code, "detail": _(str(error))}, status=503, headers=headers)


def _first(found: Any) -> str:
    """The first leaf: where several fields are wrong, one sentence at a time is enough."""
    while isinstance(found, dict | list):
        found = next(iter(found.values() if isinstance(found, dict) else found))
    return str(found)
