"""The REST API of reranks: how far one is, and what came of it."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, cast, get_args

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.translation import gettext_lazy
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers, status
from rest_framework.decorators import schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from shopsearch.api.access import FAIR_SHARE, GuardedView, visitor_key, without_transaction
from shopsearch.api.errors import turned_away
from shopsearch.api.schema import GuardedSchema
from shopsearch.api.serializers import ErrorSerializer
from shopsearch.conf import settings
from shopsearch.exceptions import Busy
from shopsearch.models import Rerank
from shopsearch.search.reasons import Control, Reason, Shared
from shopsearch.search.reranking import current
from shopsearch.types import FactKind

RETRY_AFTER_SECONDS = 1
LOOK_SECONDS = 0.3
"""How often the stream of events looks at the row."""
MAX_STREAMS = 100
"""Of one process at a time, and a FAIR_SHARE of them of one visitor. Whoever gets none can poll."""

_UNKNOWN = {
    "code": "not_found",
    "detail": gettext_lazy("There is no such rerank, or not any more; search again."),
}
_NO_EVENTS = {
    "code": "not_found",
    "detail": gettext_lazy("Events are not served here; ask for the rerank's own address."),
}


@extend_schema_serializer(component_name="SearchControl")
class ControlSerializer(serializers.Serializer[Control]):
    """A change to the search."""

    action = serializers.ChoiceField(("keep", "drop", "change"))
    label = serializers.CharField(help_text="In the language of the page that asked.")  # type: ignore[assignment]
    add = serializers.CharField(allow_blank=True, help_text="Words to add to q.")
    remove = serializers.CharField(allow_blank=True, help_text="Words to take out of q before.")
    filters = serializers.DictField(
        child=serializers.CharField(), help_text="Values to set, each instead of what the filter has."
    )
    swatch = serializers.CharField(
        allow_blank=True, help_text="The colour of a filter's value, as CSS writes it."
    )


@extend_schema_serializer(component_name="SearchReason")
class ReasonSerializer(serializers.Serializer[Reason]):
    """What the first product shares with the search."""

    kind = serializers.ChoiceField(
        (*get_args(FactKind), "filter"),
        help_text=(
            "words: of the query, that the product has; looks: a word for what both pictures show; colour: both have "
            "much of it; filter: the product's value of a filter with swatches."
        ),
    )
    value = serializers.CharField()
    label = serializers.CharField(help_text="The value as shoppers read it.")  # type: ignore[assignment]
    controls = ControlSerializer(many=True)


@extend_schema_serializer(component_name="SearchShared")
class SharedSerializer(serializers.Serializer[Shared]):
    """What a product shares with the search: its words, what both pictures look like, a colour of both."""

    kind = serializers.ChoiceField(get_args(FactKind))
    value = serializers.CharField()
    label = serializers.CharField(help_text="The value as shoppers read it.")  # type: ignore[assignment]


@extend_schema_serializer(component_name="SearchRerank")
class RerankSerializer(serializers.ModelSerializer[Rerank]):
    """A rerank. In its final states, done, failed and expired, it changes no more."""

    state = serializers.ChoiceField(Rerank.State.choices)
    order = serializers.SerializerMethodField(
        help_text="Product ids, best first; all of them, once it is done."
    )
    repairs = serializers.DictField(
        child=serializers.IntegerField(), help_text="What had to be mended in the model's answer."
    )

    reasons = ReasonSerializer(
        many=True,
        help_text="What the first product shares with the search, and how to keep, drop or change it.",
    )

    shared = serializers.DictField(
        child=SharedSerializer(many=True),
        help_text=(
            "By product id what that product shares with the search, the clearest first, for its own card; empty where "
            "the reranker does not know it of each."
        ),
    )

    class Meta:
        model = Rerank
        fields = ("id", "state", "order", "caption", "reason", "reasons", "shared", "repairs")

    @extend_schema_field({"type": "array", "items": {"oneOf": [{"type": "integer"}, {"type": "string"}]}})
    def get_order(self, rerank: Rerank) -> list[int | str]:
        order: list[int | str] = rerank.order
        return order


class RerankView(GuardedView):
    """How far a rerank is. Poll it, with Retry-After, until its state is final; it is by its deadline.

    Never throttled: one search asks many times, and an answer costs one row.
    """

    @extend_schema(
        operation_id="rerank",
        summary="The better order, when it is ready",
        parameters=[OpenApiParameter("rerank_id", OpenApiTypes.UUID, OpenApiParameter.PATH)],
        responses={
            200: RerankSerializer,
            304: OpenApiResponse(description="As If-None-Match knows it."),
            404: OpenApiResponse(ErrorSerializer, "There is no such rerank."),
        },
    )
    @schema(GuardedSchema())
    def get(self, request: Request, rerank_id: str) -> Response:
        rerank = _find(rerank_id)
        if rerank is None:
            return Response(_UNKNOWN, status=status.HTTP_404_NOT_FOUND)
        tag = _tag(rerank)
        known = request.headers.get("If-None-Match", "") == tag
        response = (
            Response(status=status.HTTP_304_NOT_MODIFIED)
            if known
            else Response(RerankSerializer(rerank).data)
        )
        response["ETag"] = tag
        response["Cache-Control"] = "private, no-cache"
        if not rerank.is_final:
            response["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response


@without_transaction
async def events(request: HttpRequest, rerank_id: str) -> HttpResponseBase:
    """Server-sent events: one with each new state, the last with a final one.

    Only under ASGI and only where SHOPSEARCH["RERANK_EVENTS"] says so: a WSGI server would hold a thread, or the whole
    stream, until the end.
    """
    if not (settings.RERANK_EVENTS and isinstance(request, ASGIRequest)):
        return JsonResponse(_NO_EVENTS, status=status.HTTP_404_NOT_FOUND)
    seen = await sync_to_async(RerankView.as_view())(request, rerank_id=rerank_id)
    if seen.status_code not in (status.HTTP_200_OK, status.HTTP_304_NOT_MODIFIED):
        seen.render()
        return cast(HttpResponseBase, seen)  # whoever may not see the rerank may not see its events
    rerank = await sync_to_async(_find)(rerank_id)
    visitor = visitor_key(request)
    if not _has_stream_for(visitor):
        return turned_away(Busy())
    response = _EventStream(visitor, _stream(rerank), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


class _EventStream(StreamingHttpResponse):
    """Counts among the visitor's streams until Django closes it, which it does when the visitor has gone, too."""

    def __init__(self, visitor: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._token = object()
        _open[self._token] = visitor, time.monotonic() + settings.RERANK_DEADLINE_SECONDS

    def close(self) -> None:
        _open.pop(self._token, None)
        super().close()


_open: dict[object, tuple[str, float]] = {}
"""The streams of this process: the visitor, and when it is over at the latest, should nobody close it."""


def _has_stream_for(visitor: str) -> bool:
    for token, (_visitor, ends_at) in list(_open.items()):
        if ends_at < time.monotonic():
            _open.pop(token, None)
    own = sum(each == visitor for each, _ends_at in list(_open.values()))
    return len(_open) < MAX_STREAMS and own < MAX_STREAMS // FAIR_SHARE


async def _stream(rerank: Rerank | None) -> AsyncIterator[bytes]:
    sent_state = ""
    while rerank is not None:
        if rerank.state != sent_state:
            sent_state = rerank.state
            yield b"event: rerank\ndata: " + JSONRenderer().render(RerankSerializer(rerank).data) + b"\n\n"
        if rerank.is_final:
            return
        await asyncio.sleep(LOOK_SECONDS)
        rerank = await sync_to_async(current)(rerank.pk)


def _find(rerank_id: str) -> Rerank | None:
    """None for an id that no rerank has, and for a text that is no id."""
    try:
        return current(uuid.UUID(rerank_id))
    except ValueError:
        return None


def _tag(rerank: Rerank) -> str:
    return f'"{hashlib.sha256(f"{rerank.pk} {rerank.state}".encode()).hexdigest()[:16]}"'
