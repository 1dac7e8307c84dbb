"""Health over HTTP, for load balancers, Kubernetes and people: live, and ready with reasons."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.utils.decorators import method_decorator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_serializer
from PIL import Image
from rest_framework import serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from shopsearch import broker, registry
from shopsearch.api.access import IndependentView, without_transaction
from shopsearch.api.serializers import ErrorSerializer
from shopsearch.backends import get_query_embedder, get_vector_store
from shopsearch.conf import settings
from shopsearch.embedders.cached import CachedEmbedder
from shopsearch.exceptions import BackendError
from shopsearch.models import IndexEntry
from shopsearch.search.diagnosis import Problem, diagnose
from shopsearch.types import Query

logger = logging.getLogger(__name__)
KEEP_SECONDS = 1.0
"""How long an answer is kept: however often strangers ask, the parts are not asked more often."""
DIAGNOSIS_SECONDS = 60.0
"""The same for the indexes, whose rows and entities are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """How a part is: ``reason`` says what is wrong and what to do, "" where nothing is."""

    reason: str = ""
    seconds: float | None = None
    """How long the part took; None where it did not answer in time."""
    age_seconds: float | None = None
    """How old the answer is; None where there is none."""
    warnings: tuple[str, ...] = ()
    """What is wrong and does not keep searches from being answered."""

    @property
    def is_ready(self) -> bool:
        return not self.reason


class _Question:
    """One question, asked in a thread of its own."""

    def __init__(self, question: Callable[[], list[Problem] | None], keep_seconds: float) -> None:
        self._question = question
        self._keep_seconds = keep_seconds
        self.problems: list[Problem] = []
        self.error: Exception | None = None
        self.started_at = time.monotonic()
        self.answered_at: float | None = None
        self.thread = threading.Thread(target=self._run, name="shopsearch-probe", daemon=True)
        self.thread.start()

    @property
    def is_current(self) -> bool:
        """Whether it will do for whoever asks now: on its way, or just answered."""
        if self.answered_at is None:
            return self.thread.is_alive()
        return time.monotonic() - self.answered_at < self._keep_seconds

    def _run(self) -> None:
        try:
            self.problems = self._question() or []
        except Exception as error:  # each part's client raises what it likes
            self.error = error
        finally:
            self.answered_at = time.monotonic()
            connections.close_all()  # this thread's own


class Probe:
    """One part and how to ask it. At most one question is under way: who asks meanwhile waits for its answer."""

    def __init__(
        self,
        name: str,
        question: Callable[[], list[Problem] | None],
        *,
        away: str,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self.name = name
        self.question = question
        self.keep_seconds = keep_seconds
        self.away = away
        """What to say of a part that is away. Its client's own words may name hosts: they are for the log."""
        self._lock = threading.Lock()
        self._asked: _Question | None = None
        self._logged = ""
        """The reason that the log has; "" when it says that nothing is wrong."""

    def ask(self) -> _Question:
        """A question that is on its way, or has just been answered."""
        with self._lock:
            if self._asked is None or not self._asked.is_current:
                self._asked = _Question(self.question, self.keep_seconds)
            return self._asked

    def state(self, asked: _Question, deadline: float) -> PartState:
        """What came of the question by this moment of ``time.monotonic()``."""
        asked.thread.join(max(0.0, deadline - time.monotonic()))
        if asked.answered_at is None:
            return self._logged_state(
                f"{self.away} It gives no answer within {settings.HEALTH_SECONDS:g} seconds."
            )
        took = PartState(
            seconds=round(asked.answered_at - asked.started_at, 4),
            age_seconds=round(time.monotonic() - asked.answered_at, 1),
            warnings=tuple(each.message for each in asked.problems if each.level != "answers"),
        )
        if asked.error is None:
            wrong = " ".join(each.message for each in asked.problems if each.level == "answers")
            return self._logged_state(f"{wrong} {self.away}" if wrong else "", took=took)
        if isinstance(asked.error, ImproperlyConfigured):
            reason = f"{self.away} It is not set up rightly: `manage.py check` and the log say what is wrong."
            return self._logged_state(reason, asked.error, took)
        return self._logged_state(f"{self.away} The log says more.", asked.error, took)

    def forget(self) -> None:
        """The next one who asks gets a new answer."""
        with self._lock:
            self._asked = None

    def _logged_state(
        self, reason: str, error: Exception | None = None, took: PartState | None = None
    ) -> PartState:
        if reason != self._logged:  # once per outage, however often it is asked
            self._logged = reason
            logger.warning("%s", reason or f"{self.name} answers again.", exc_info=error)
        return replace(took or PartState(), reason=reason)


def _ask_database() -> None:
    for using in registry.databases() or ["default"]:
        IndexEntry.objects.using(using).exists()


def _ask_vector_store() -> None:
    get_vector_store().collections()


def _ask_embedder() -> None:
    embedder = get_query_embedder()
    if isinstance(embedder, CachedEmbedder):  # which would answer for a worker that is gone
        embedder = embedder.embedder
    # Words and picture together: some models read no words alone.
    embedder.embed([Query(text="ready", image=Image.new("RGB", (64, 64)))])


def _look_at_indexes() -> list[Problem]:
    try:
        return diagnose()
    except (DatabaseError, BackendError, ImproperlyConfigured):
        return []  # what is away is asked by itself


PROBES = {
    probe.name: probe
    for probe in (
        Probe(
            "database", _ask_database, away="The database cannot be read; has `manage.py migrate` been run?"
        ),
        Probe(
            "vector_store",
            _ask_vector_store,
            away="The vector store cannot be reached, so searches fail.",
        ),
        Probe(
            "embedder",
            _ask_embedder,
            away="No query can be embedded, so searches fail; the model may be loading, or no query worker runs.",
        ),
        Probe(
            "broker",
            broker.ask,
            away="Celery's broker cannot be reached or written to: searches go on, new pictures and reranks wait.",
        ),
        Probe(
            "indexes",
            _look_at_indexes,
            away="`manage.py shopsearch_status` says why, and what to do.",
            keep_seconds=DIAGNOSIS_SECONDS,
        ),
    )
}


def ask(names: Iterable[str]) -> dict[str, PartState]:
    """How these parts are, within HEALTH_SECONDS altogether, whatever hangs. Raises nothing."""
    deadline = time.monotonic() + settings.HEALTH_SECONDS
    asked = {name: PROBES[name].ask() for name in names}
    return {name: PROBES[name].state(question, deadline) for name, question in asked.items()}


def forget() -> None:
    """Have every part asked anew."""
    for probe in PROBES.values():
        probe.forget()


RETRY_AFTER_SECONDS = 5


@extend_schema_serializer(component_name="SearchHealthPart")
class PartSerializer(serializers.Serializer[PartState]):
    ready = serializers.BooleanField()
    reason = serializers.CharField(
        allow_blank=True, help_text='What is wrong, and what to do; "" for nothing.'
    )
    seconds = serializers.FloatField(allow_null=True, help_text="How long it took; null: no answer in time.")
    age_seconds = serializers.FloatField(
        allow_null=True, help_text="How old the answer is: the indexes are looked at once a minute."
    )
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="What is wrong and keeps no search from being answered."
    )


@extend_schema_serializer(component_name="SearchLiveness")
class LivenessSerializer(serializers.Serializer[Any]):
    live = serializers.BooleanField()


@extend_schema_serializer(component_name="SearchReadiness")
class ReadinessSerializer(serializers.Serializer[Any]):
    ready = serializers.BooleanField(help_text="Whether every part is.")
    parts = serializers.DictField(
        child=PartSerializer(), help_text="database, vector_store, embedder, broker, indexes."
    )


@method_decorator(without_transaction, name="dispatch")
class HealthView(IndependentView):
    """Open to everyone and never throttled: an answer names no host, and asking more often costs nothing more."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[JSONRenderer, str]:
        """JSON, whatever a probe says that it accepts."""
        return JSONRenderer(), JSONRenderer.media_type

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers["Cache-Control"] = "no-store"
        return response


class LiveView(HealthView):
    """Whether this process answers at all. It asks nothing of anybody."""

    @extend_schema(
        operation_id="health_live",
        tags=["health"],
        summary="Whether the process answers",
        responses=LivenessSerializer,
    )
    def get(self, request: Request) -> Response:
        return Response({"live": True})


class ReadyView(HealthView):
    """Whether a search would be answered and a saved picture indexed, and if not, why; within HEALTH_SECONDS."""

    @extend_schema(
        operation_id="health_ready",
        tags=["health"],
        summary="Whether every part answers, and if not, why",
        parameters=[
            OpenApiParameter(
                "exclude",
                OpenApiTypes.STR,
                many=True,
                enum=list(PROBES),
                description="A part not to ask; may be given several times.",
            )
        ],
        responses={
            200: ReadinessSerializer,
            400: OpenApiResponse(ErrorSerializer, "There is no such part."),
            503: OpenApiResponse(ReadinessSerializer, "A part is away; its reason says so."),
        },
    )
    def get(self, request: Request) -> Response:
        excluded = request.query_params.getlist("exclude")
        if unknown := [name for name in excluded if name not in PROBES]:
            detail = f"There is no part {unknown[0][:60]!r}; exclude any of: {', '.join(PROBES)}."
            return Response({"code": "invalid", "detail": detail}, status=status.HTTP_400_BAD_REQUEST)
        found = ask(name for name in PROBES if name not in excluded)
        is_ready = all(state.is_ready for state in found.values())
        parts = {
            name: {
                "ready": state.is_ready,
                "reason": state.reason,
                "seconds": state.seconds,
                "age_seconds": state.age_seconds,
                "warnings": state.warnings,
            }
            for name, state in found.items()
        }
        response = Response({"ready": is_ready, "parts": parts})
        if not is_ready:
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
            response["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response
