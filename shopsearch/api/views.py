"""The REST API: search by words, by picture, or by both, and products that look like one."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    extend_schema,
)
from rest_framework import status
from rest_framework.decorators import schema
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from shopsearch.api.access import (
    GuardedView,
    SearchThrottle,
    SuggestThrottle,
    reading_body,
    refuse_if_full,
    refuse_unread,
    visit,
)
from shopsearch.api.errors import turned_away
from shopsearch.api.schema import PICTURE_TYPES, GuardedSchema, SearchObject
from shopsearch.api.serializers import (
    ErrorSerializer,
    PageParameters,
    SearchAnswerSerializer,
    SearchForm,
    SearchParameters,
    SimilarAnswerSerializer,
    SuggestionsSerializer,
    SuggestParameters,
    parameters_of,
)
from shopsearch.conf import settings
from shopsearch.exceptions import Busy, QueryError
from shopsearch.search.examples import Example
from shopsearch.search.request import SearchRequest
from shopsearch.search.suggestions import suggest

MAX_AGE_SECONDS = 30
_FORM, _PAGE, _TYPED = SearchForm(), PageParameters(), SuggestParameters()
"""Made once: what they are given they hand back, and keep nothing of it."""

_FOUND = OpenApiExample(
    "A red mug",
    response_only=True,
    status_codes=["200"],
    value={
        "query": {"kind": "text", "text": "red mug", "filters": {"price__lte": ["20"]}},
        "results": [
            {
                "rank": 1,
                "score": 0.8312,
                "product": {
                    "id": 42,
                    "title": "Red striped mug",
                    "url": "https://shop.example/products/42/",
                    "image": "https://shop.example/media/products/mug.jpg",
                },
                "image_id": "57",
            }
        ],
        "match": "good",
        "weak_below": 0.6127,
        "retrieval": "hybrid",
        "corrected": None,
        "rules": [{"name": "Summer sale", "actions": ["pin", "banner"]}],
        "banner": {"text": "20 % off all mugs this week", "address": "/sale/"},
        "redirect": None,
        "total": None,
        "count": 1,
        "next": "https://shop.example/api/search/?q=red+mug&limit=1&price__lte=20&offset=1",
        "previous": None,
        "rerank": None,
    },
)

_NOTHING_ASKED = OpenApiExample(
    "Nothing to search for",
    response_only=True,
    status_codes=["400"],
    value={"code": "empty_query", "detail": "Type some words or add a picture to search for."},
)

_REFUSALS = {
    400: OpenApiResponse(ErrorSerializer, "The request must be changed; `detail` says how."),
    429: OpenApiResponse(ErrorSerializer, "Too many requests; see Retry-After."),
    503: OpenApiResponse(ErrorSerializer, "Search is away for the moment; see Retry-After."),
}

_RESPONSES = {200: SearchAnswerSerializer, **_REFUSALS}


class SearchView(GuardedView):
    """Search the shop's products by words, by picture, or by both.

    A picture is looked at once and not kept, unless a rerank is requested: then its row has the picture until it ends.
    """

    throttle_classes = (SearchThrottle,)
    parser_classes = (MultiPartParser, FormParser, JSONParser)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """In a storm, turning away must cost next to nothing: it is done before REST framework begins."""
        try:
            has_picture = request.content_type == "multipart/form-data"
            refuse_if_full(has_picture=has_picture, unread=request)
        except Busy as error:
            return turned_away(error)
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(
        operation_id="search",
        tags=["search"],
        summary="Search by words",
        parameters=[SearchParameters],
        responses=_RESPONSES,
        examples=[_FOUND, _NOTHING_ASKED],
    )
    @schema(GuardedSchema())
    def get(self, request: Request) -> Response:
        if "image_url" in request.query_params:
            raise QueryError(_("Send image_url by POST."))
        return _for_a_while(self._answer(request, request.query_params))

    @extend_schema(
        operation_id="search_by_picture",
        tags=["search"],
        summary="Search by picture, or by picture and words",
        description=(
            "Filters are fields of the form or parameters of the address, which wins. To see the page that `next` "
            "names, post the picture to it again: it is not kept."
        ),
        request={
            "multipart/form-data": OpenApiRequest(
                SearchForm, encoding={"image": {"contentType": PICTURE_TYPES}}
            ),
            "application/json": SearchObject,
        },
        responses=_RESPONSES,
        examples=[_FOUND, _NOTHING_ASKED],
    )
    @schema(GuardedSchema())
    def post(self, request: Request) -> Response:
        refuse_unread(request, "image")
        with reading_body(request):
            body = request.data
        if not isinstance(body, dict):
            raise QueryError(_("Send one object of parameters."))
        return self._answer(request, body, request.query_params)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Nothing that was posted, and no error, is to be kept by a cache."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _answer(self, request: Request, *sources: Any) -> Response:
        parameters = parameters_of(*sources)
        asked = _FORM.run_validation(parameters)
        image_url, collect = asked.pop("image_url", ""), asked.pop("collect", False)
        box = asked.pop("box", None)
        with visit(request, SearchRequest(**asked), image_url=image_url, box=box, collect=collect) as answer:
            context = {"request": request, "index": answer.index, "parameters": parameters}
            return Response(SearchAnswerSerializer(answer, context=context).data)


def _for_a_while(response: Response) -> Response:
    """An answer that the visitor's own cache may keep."""
    response["Cache-Control"] = f"private, max-age={MAX_AGE_SECONDS}"
    return response


class SimilarView(SearchView):
    """Products that look like this one, by vectors that the store holds: no model runs, and no picture is read."""

    http_method_names = ["get", "head", "options"]

    @extend_schema(
        operation_id="similar_products",
        tags=["search"],
        summary="Products that look like one",
        parameters=[
            PageParameters,
            OpenApiParameter(
                "product_id",
                OpenApiTypes.STR,
                OpenApiParameter.PATH,
                description="The product's primary key.",
            ),
        ],
        responses={
            200: SimilarAnswerSerializer,
            404: OpenApiResponse(ErrorSerializer, "The shop shows no such product."),
            **_REFUSALS,
        },
    )
    @schema(GuardedSchema())
    def get(self, request: Request, product_id: str) -> Response:  # type: ignore[override]
        """Nothing, rather than an error, while the product is not indexed yet."""
        parameters = parameters_of(request.query_params)
        asked = _PAGE.run_validation(parameters)
        with visit(request, SearchRequest(examples=(Example(product=product_id),), **asked)) as answer:
            if not answer.examples:
                unknown = {"code": "not_found", "detail": _("The shop shows no such product.")}
                return Response(unknown, status=status.HTTP_404_NOT_FOUND)
            context = {"request": request, "index": answer.index, "parameters": parameters}
            return _for_a_while(Response(SimilarAnswerSerializer(answer, context=context).data))


class SuggestView(GuardedView):
    """What a shopper who is typing may mean: products, categories, whole queries. No model runs, no store is asked."""

    http_method_names = ["get", "head", "options"]
    throttle_classes = (SuggestThrottle,)

    @extend_schema(
        operation_id="suggest",
        tags=["search"],
        summary="Suggestions while typing",
        parameters=[SuggestParameters],
        responses={
            200: SuggestionsSerializer,
            404: OpenApiResponse(ErrorSerializer, "The shop makes no suggestions."),
            **{status: each for status, each in _REFUSALS.items() if status != 503},
        },
    )
    @schema(GuardedSchema())
    def get(self, request: Request) -> Response:
        if not settings.SUGGESTIONS:
            off = {"code": "not_found", "detail": _("This shop makes no suggestions.")}
            return Response(off, status=status.HTTP_404_NOT_FOUND)
        asked = _TYPED.run_validation(parameters_of(request.query_params))
        found = suggest(**asked)
        context = {"request": request, "index": asked.get("index", "")}
        # Not kept by any cache: prices may be the shopper's own, and a product may be hidden the next second.
        return Response(
            SuggestionsSerializer(found, context=context).data, headers={"Cache-Control": "no-store"}
        )
