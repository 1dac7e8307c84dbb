"""The REST API of the parts of a picture: what a detector sees in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import OpenApiRequest, OpenApiResponse, extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.decorators import schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from shopsearch.api.access import (
    GuardedView,
    SearchThrottle,
    admitted,
    decoded,
    reading_body,
    refuse_unread,
    throttle,
)
from shopsearch.api.schema import PICTURE_TYPES, GuardedSchema
from shopsearch.api.serializers import ErrorSerializer, PictureField
from shopsearch.backends import get_detector
from shopsearch.conf import settings
from shopsearch.detectors.base import MOST, distinct
from shopsearch.exceptions import DetectorError, QueryError
from shopsearch.search.examples import Box, Example
from shopsearch.threads import Watched
from shopsearch.types import Proposal

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.detectors import Detector

DETECT_SECONDS = 10.0
"""The time limit of a detector, which holds one of the pictures' places. Where loading its model takes longer, the
first visitors are told to try again."""
_OFF = {"code": "not_found", "detail": gettext_lazy("This shop proposes no parts of pictures.")}


@extend_schema_serializer(component_name="SearchObjectsForm")
class ObjectsForm(serializers.Serializer[Any]):
    """A picture."""

    image = PictureField(help_text="A picture, as a search takes it.")


@extend_schema_serializer(component_name="SearchPictureObject")
class ObjectSerializer(serializers.Serializer[Proposal]):
    """A part of the picture in which an object is seen."""

    box = serializers.SerializerMethodField(help_text="What a search takes as box.")
    score = serializers.FloatField(help_text="How sure the detector is, from 0 to 1.")
    label = serializers.CharField(allow_blank=True, help_text="What it sees, in its model's words.")  # type: ignore[assignment]

    def get_box(self, found: Proposal) -> str:
        return str(Box(x=found.x, y=found.y, width=found.width, height=found.height))


@extend_schema_serializer(component_name="SearchPictureObjects")
class ObjectsSerializer(serializers.Serializer[Any]):
    """The parts of a picture, the surest first."""

    objects = ObjectSerializer(many=True)


class ObjectsView(GuardedView):
    """The objects in a shopper's picture, to choose one and search with it. The picture is not kept.

    It costs what a search by picture costs, and counts as one.
    """

    throttle_classes = (SearchThrottle,)
    parser_classes = (MultiPartParser,)

    @extend_schema(
        operation_id="picture_objects",
        tags=["search"],
        summary="The objects in a picture",
        request={
            "multipart/form-data": OpenApiRequest(
                ObjectsForm, encoding={"image": {"contentType": PICTURE_TYPES}}
            )
        },
        responses={
            200: ObjectsSerializer,
            400: OpenApiResponse(ErrorSerializer, "The picture cannot be used; `detail` says why."),
            404: OpenApiResponse(ErrorSerializer, "The shop proposes no parts of pictures."),
            429: OpenApiResponse(ErrorSerializer, "Too many requests; see Retry-After."),
            503: OpenApiResponse(ErrorSerializer, "Search is away for the moment; see Retry-After."),
        },
    )
    @schema(GuardedSchema())
    def post(self, request: Request) -> Response:
        detector = get_detector()
        if detector is None:
            return Response(_OFF, status=status.HTTP_404_NOT_FOUND)
        refuse_unread(request, "image")
        with reading_body(request):
            file = request.FILES.get("image")
        if file is None:
            raise QueryError(_("Send the picture as the file image of a multipart form."))
        throttle(request, "image")
        [example] = decoded(request, [Example(image=file)])
        with admitted("image"):
            found = distinct(_detected(detector, cast("Image", example.image)), most=min(detector.most, MOST))
        return Response(ObjectsSerializer({"objects": found}).data, headers={"Cache-Control": "no-store"})


_watched = Watched(DETECT_SECONDS, name="shopsearch-detect")


def _detected(detector: Detector, picture: Image) -> list[Proposal]:
    """What it finds. Raises DetectorError after DETECT_SECONDS, at once where as many hang as there are places."""
    try:
        return _watched.call(lambda: detector.detect(picture), most_late=settings.MAX_IMAGE_SEARCHES)
    except TimeoutError as error:
        raise DetectorError(f"The detector takes too long: {error}") from error
