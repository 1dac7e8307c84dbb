"""Health over HTTP, for load balancers, Kubernetes and people: live, and ready with reasons."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from shopsearch import probes
from shopsearch.serializers import ErrorSerializer

RETRY_AFTER_SECONDS = 5


@extend_schema_serializer(component_name="SearchHealthPart")
class PartSerializer(serializers.Serializer[probes.Finding]):
    ready = serializers.BooleanField()
    reason = serializers.CharField(
        allow_blank=True, help_text='What is wrong, and what to do; "" for nothing.'
    )
    seconds = serializers.FloatField(allow_null=True, help_text="How long it took; null: no answer in time.")


@extend_schema_serializer(component_name="SearchLiveness")
class LivenessSerializer(serializers.Serializer[Any]):
    live = serializers.BooleanField()


@extend_schema_serializer(component_name="SearchReadiness")
class ReadinessSerializer(serializers.Serializer[Any]):
    ready = serializers.BooleanField(help_text="Whether every part is.")
    parts = serializers.DictField(
        child=PartSerializer(), help_text="database, vector_store, embedder, broker."
    )


class HealthView(APIView):
    """Open to everyone and never throttled: an answer names no host, and asking more often costs nothing more."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()
    renderer_classes = (JSONRenderer,)

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
                enum=list(probes.PROBES),
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
        if unknown := [name for name in excluded if name not in probes.PROBES]:
            detail = f"There is no part {unknown[0][:60]!r}; exclude any of: {', '.join(probes.PROBES)}."
            return Response({"code": "invalid", "detail": detail}, status=status.HTTP_400_BAD_REQUEST)
        found = probes.ask(name for name in probes.PROBES if name not in excluded)
        is_ready = all(finding.is_ready for finding in found.values())
        parts = {
            name: {"ready": finding.is_ready, "reason": finding.reason, "seconds": finding.seconds}
            for name, finding in found.items()
        }
        response = Response({"ready": is_ready, "parts": parts})
        if not is_ready:
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
            response["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response
