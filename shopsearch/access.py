"""Access: who may use the REST API, as SHOPSEARCH's AUTHENTICATION_CLASSES and PERMISSION_CLASSES say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.utils.module_loading import import_string
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse
from rest_framework.permissions import AllowAny
from rest_framework.views import APIView

from shopsearch.conf import settings
from shopsearch.refusals import answer_to_error
from shopsearch.serializers import ErrorSerializer

Method = TypeVar("Method", bound=Callable[..., Any])

_KEPT_OUT = {
    "401": OpenApiResponse(ErrorSerializer, "The project asks who you are; see WWW-Authenticate."),
    "403": OpenApiResponse(ErrorSerializer, "The project does not let you in; `detail` may say why."),
}


class ClassesOf:
    """The classes that a setting names by their dotted paths; a subclass of the view may name its own."""

    def __init__(self, setting: str) -> None:
        self.setting = setting

    def __get__(self, view: object, owner: type | None = None) -> tuple[type[Any], ...]:
        return tuple(import_string(path) for path in getattr(settings, self.setting))


class GuardedView(APIView):
    """Open to whom the settings let in, everyone unless they say otherwise; an error is ``{"code", "detail"}``.

    Without AUTHENTICATION_CLASSES no session and no cookie is looked at, so there is nothing that a foreign page could
    do in a shopper's name, and no CSRF token to send.
    """

    authentication_classes = ClassesOf("AUTHENTICATION_CLASSES")
    permission_classes = ClassesOf("PERMISSION_CLASSES")

    def get_exception_handler(self) -> Any:
        return answer_to_error


class GuardedSchema(AutoSchema):
    """Tells of 401 and 403, too, where the settings do not let everyone in."""

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        if not self.view.authentication_classes and {*self.view.permission_classes} <= {AllowAny}:
            return bodies
        kept_out = {
            code: self._get_response_for_code(refusal, code, direction=direction)  # type: ignore[no-untyped-call]
            for code, refusal in _KEPT_OUT.items()
        }
        return dict(sorted((bodies | kept_out).items()))


def described_by(schema: type[GuardedSchema], method: Method) -> Method:
    """The method of a view, with this schema beneath what ``@extend_schema`` says of it."""
    method.kwargs = {"schema": schema}  # type: ignore[attr-defined]  # where drf-spectacular keeps it
    return method


def guarded(method: Method) -> Method:
    """The schema tells who may call this method of a view: put it below ``@extend_schema``."""
    return described_by(GuardedSchema, method)
