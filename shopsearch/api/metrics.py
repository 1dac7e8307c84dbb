"""Metrics over HTTP: what this process counted, and what the database says of the index and the reranks."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError
from django.db.models import Count
from django.db.models.functions import Now
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from shopsearch import conf, registry
from shopsearch.api.health import HealthView
from shopsearch.api.serializers import ErrorSerializer
from shopsearch.conf import settings
from shopsearch.indexing import progress
from shopsearch.models import Change, IndexEntry, RelatedChange, Rerank
from shopsearch.registry import get_indexes
from shopsearch.telemetry import metrics

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

logger = logging.getLogger(__name__)
State = IndexEntry.State
INDEXED_SECONDS = 300
"""How long the count of indexed rows stands: of a hundred million it takes seconds, and it changes slowly."""
RERANK_SECONDS = 3_600
"""How far back reranks are counted by state."""

_NOT_SERVED = {"code": "not_found", "detail": "Metrics are not served here."}
_NO_TOKEN = {"code": "unauthorized", "detail": "Send the token: Authorization: Bearer …"}


class MetricsView(HealthView):
    """Prometheus' text format. Served to whoever has SHOPSEARCH["METRICS_TOKEN"]; not at all without that setting."""

    @extend_schema(
        operation_id="metrics",
        tags=["health"],
        summary="What this process counted, for Prometheus",
        description='Send SHOPSEARCH["METRICS_TOKEN"]: `Authorization: Bearer …`.',
        responses={
            (200, "text/plain"): OpenApiTypes.STR,
            401: OpenApiResponse(ErrorSerializer, "Without the token."),
            404: OpenApiResponse(ErrorSerializer, "Metrics are not served here."),
            501: OpenApiResponse(ErrorSerializer, "prometheus-client is not installed."),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        if not settings.METRICS_TOKEN:
            return Response(_NOT_SERVED, status=404)
        given = request.headers.get("Authorization", "")
        if not constant_time_compare(given, f"Bearer {settings.METRICS_TOKEN}"):
            return Response(_NO_TOKEN, status=401, headers={"WWW-Authenticate": "Bearer"})
        if sentence := conf.missing_packages("prometheus_client"):
            return Response({"code": "not_installed", "detail": sentence}, status=501)
        from prometheus_client import CollectorRegistry, exposition

        ours = CollectorRegistry()
        ours.register(_collector)
        content = exposition.generate_latest(metrics.registry()) + exposition.generate_latest(ours)
        return HttpResponse(content, content_type=exposition.CONTENT_TYPE_PLAIN_0_0_4)


class DatabaseCollector:
    """Reads the database at each scrape; any process may be asked, and all of them say the same.

    A project that has an endpoint of its own, such as django-prometheus', registers one in prometheus-client's
    REGISTRY.
    """

    def __init__(self) -> None:
        self._indexed: tuple[float, Counter[tuple[str, str]]] = (-math.inf, Counter())

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing beforehand: being registered must not ask the database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            yield from (self._rows(), self._changes(), self._oldest(), self._reranks())
        except DatabaseError as error:
            logger.warning("The database cannot be read, so its metrics are missing: %s", error)

    def _rows(self) -> GaugeMetricFamily:
        if time.monotonic() - self._indexed[0] > INDEXED_SECONDS:
            self._indexed = (time.monotonic(), _rows_by_state([State.INDEXED]))
        counted = self._indexed[1] + _rows_by_state([state for state in State if state != State.INDEXED])
        family = _gauge("shopsearch_outbox_rows", "Index entries by state.", "index", "state")
        for index in sorted(_known_indexes() | {name for name, _ in counted}):
            for state in State.values:
                family.add_metric([index, state], counted[index, state])
        return family

    def _changes(self) -> GaugeMetricFamily:
        counted: Counter[str] = Counter(dict.fromkeys(_known_indexes(), 0))
        for using in registry.databases():
            for model in (Change, RelatedChange):
                rows = model.objects.using(using).values_list("index").annotate(Count("pk")).order_by()
                counted.update(dict(rows))
        family = _gauge("shopsearch_outbox_changes", "Changes that no worker has taken up yet.", "index")
        for index, count in sorted(counted.items()):
            family.add_metric([index], count)
        return family

    def _oldest(self) -> GaugeMetricFamily:
        since, now = progress.waiting_since(), timezone.now()
        family = _gauge(
            "shopsearch_outbox_oldest_waiting_seconds",
            "Age of the oldest image that waits; 0 for none.",
            "index",
        )
        for index in sorted(_known_indexes() | since.keys()):
            family.add_metric([index], max(0.0, (now - since.get(index, now)).total_seconds()))
        return family

    def _reranks(self) -> GaugeMetricFamily:
        recent = Rerank.objects.filter(
            state__in=Rerank.State.values, created_at__gte=Now() - timedelta(seconds=RERANK_SECONDS)
        )
        counted = dict(recent.values_list("state").annotate(Count("pk")).order_by())
        family = _gauge(
            "shopsearch_reranks_last_hour", "Reranks asked for in the last hour, by state.", "state"
        )
        for state in Rerank.State.values:
            family.add_metric([state], counted.get(state, 0))
        return family


def _known_indexes() -> set[str]:
    return {index.name for index in get_indexes()}


def _rows_by_state(states: Iterable[str]) -> Counter[tuple[str, str]]:
    counted: Counter[tuple[str, str]] = Counter()
    for using in registry.databases():
        rows = IndexEntry.objects.using(using).filter(state__in=list(states))
        for index, state, count in rows.values_list("index", "state").annotate(Count("pk")).order_by():
            counted[index, state] += count
    return counted


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, documentation, labels=labels)


_collector = DatabaseCollector()
