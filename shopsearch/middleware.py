"""Middleware: every request gets an id, which its answer and its log lines carry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from shopsearch.telemetry import logs

HEADER = "X-Request-ID"


class RequestIDMiddleware:
    """Takes a proxy's X-Request-ID if it is well-formed, else makes one; the answer carries it in the same header.

    Put it first. With ``telemetry.logs.RequestIDFilter`` every log line of the request carries the id, and so do the
    lines that the query worker and the rerank worker log for it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._answer_later(request)
        request_id = _id_of(request)
        with logs.request_id(request_id):
            response = self.get_response(request)
        response[HEADER] = request_id
        return response

    async def _answer_later(self, request: HttpRequest) -> HttpResponseBase:
        request_id = _id_of(request)
        with logs.request_id(request_id):
            response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
        response[HEADER] = request_id
        return response


def _id_of(request: HttpRequest) -> str:
    request_id = logs.sane_request_id(request.headers.get(HEADER)) or logs.new_request_id()
    setattr(request, logs.REQUEST_ATTRIBUTE, request_id)
    return request_id
