"""Access: who may use the REST API, as SHOPSEARCH's AUTHENTICATION_CLASSES and PERMISSION_CLASSES say."""

from __future__ import annotations

from typing import Any

from django.utils.module_loading import import_string
from rest_framework.views import APIView

from shopsearch.conf import settings
from shopsearch.refusals import answer_to_error


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
