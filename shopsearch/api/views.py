"""The REST API: search by words, by picture, or by both."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Literal
from urllib.parse import urlencode

from django.http import QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_serializer,
)
from rest_framework import status
from rest_framework.exceptions import Throttled
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from shopsearch.api import admission, throttling
from shopsearch.api.errors import turned_away
from shopsearch.api.reranks import link
from shopsearch.api.schema import GuardedView, asks_for_a_page, asks_the_shop
from shopsearch.api.serializers import ErrorSerializer, SearchAnswerSerializer, SearchForm, SearchWords
from shopsearch.api.throttling import SearchThrottle
from shopsearch.conf import settings
from shopsearch.evaluation import query_log
from shopsearch.exceptions import Busy, ImageTooLarge, QueryError
from shopsearch.filters import parse
from shopsearch.images import decode, download
from shopsearch.registry.keys import is_storable
from shopsearch.search import reranking
from shopsearch.search.engine import index_named, search, shown_images, similar
from shopsearch.search.facets import facet_names, facets
from shopsearch.search.sorting import is_relevance

NOT_FILTERS = {
    *("q", "image", "limit", "offset", "index", "format"),
    *("rerank", "collect", "page", "image_url", "facets", "sort"),
}
"""Parameters that no filter may be named like."""

PICTURES = {"image", "image_url"}
FORM_BYTES = 256 * 1024
"""What a request may weigh beside its picture."""

MAX_AGE_SECONDS = 30

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

REFUSALS = {
    400: OpenApiResponse(ErrorSerializer, "The request must be changed; `detail` says how."),
    429: OpenApiResponse(ErrorSerializer, "Too many requests; see Retry-After."),
    503: OpenApiResponse(ErrorSerializer, "Search is away for the moment; see Retry-After."),
}

_RESPONSES = {200: SearchAnswerSerializer, **REFUSALS}


class SearchView(GuardedView):
    """Search the shop's products by words, by picture, or by both.

    A picture is looked at once and kept nowhere, unless a rerank is asked for: it is in that one's row then, until it
    ends.
    """

    throttle_classes = (SearchThrottle,)
    parser_classes = (MultiPartParser, FormParser, JSONParser)
    renderer_classes = (JSONRenderer,)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """In a storm turning away has to cost next to nothing: it is done before REST framework has begun."""
        try:
            admission.refuse_if_full()
        except Busy as error:
            return turned_away(error)
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(
        operation_id="search",
        tags=["search"],
        summary="Search by words",
        responses=_RESPONSES,
        examples=[_FOUND, _NOTHING_ASKED],
    )
    @asks_the_shop
    def get(self, request: Request) -> Response:
        if "image_url" in request.query_params:
            raise QueryError("Send image_url by POST.")
        response = self._answer(request, merged(request.query_params))
        response["Cache-Control"] = f"private, max-age={MAX_AGE_SECONDS}"
        return response

    @extend_schema(
        operation_id="search_by_picture",
        tags=["search"],
        summary="Search by picture, or by picture and words",
        description=(
            "Filters are fields of the form or parameters of the address, which wins. To see the page that `next` "
            "names, post the picture to it again: it is not kept."
        ),
        responses=_RESPONSES,
        examples=[_FOUND, _NOTHING_ASKED],
    )
    @asks_the_shop
    def post(self, request: Request) -> Response:
        _refuse_a_large_body(request)
        try:
            body = request.data
        except RecursionError as error:
            raise QueryError("The request is nested too deeply; send one object of parameters.") from error
        if not isinstance(body, dict):
            raise QueryError("Send one object of parameters.")
        return self._answer(request, merged(body, request.query_params))

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Nothing that was posted, and no error, is to be kept by a cache."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _answer(self, request: Request, parameters: dict[str, list[Any]]) -> Response:
        form = SearchForm(data={name: parameters[name][-1] for name in NOT_FILTERS & parameters.keys()})
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        kind: Literal["text", "image"] = "image" if PICTURES & asked.keys() else "text"
        if kind == "image" and (seconds := throttling.seconds_to_wait(request, "image")):
            raise Throttled(seconds)
        if address := asked.get("image_url"):
            if asked.get("image") is not None:
                raise QueryError("Send a picture or its address, not both.")
            # Before the search has a place: a slow server takes nobody's.
            asked["image"] = BytesIO(download.fetched(address))
        with admission.admitted(kind):
            return self._found(request, parameters, asked)

    def _found(self, request: Request, parameters: dict[str, list[Any]], asked: dict[str, Any]) -> Response:
        filters = {name: values for name, values in parameters.items() if name not in NOT_FILTERS}
        picture = asked.get("image")
        if picture is not None:
            with picture:
                picture = decode(picture)
        index = index_named(asked.get("index", ""))
        names = facet_names(index, [asked.get("facets", "")])
        results = search(
            asked.get("q", ""),
            picture,
            index=index.name,
            filters=filters,
            limit=asked.get("limit"),
            offset=asked.get("offset", 0),
            sort=asked.get("sort", ""),
        )

        def page_url(offset: int) -> str:
            kept = {name: parameters[name] for name in parameters if name not in (*PICTURES, "offset")}
            page = urlencode({**kept, "offset": offset}, doseq=True)
            return request.build_absolute_uri(f"{request.path}?{page}")

        if asked.get("collect"):
            query_log.collect(results, index)
        wants_rerank = (
            asked.get("rerank")
            and is_relevance(asked.get("sort", ""))
            and not throttling.seconds_to_wait(request, "rerank")
        )
        context = {
            "request": request,
            "index": index,
            "filters": filters,
            "facets": facets(index, parse(filters, index.filter_types), names) if "facets" in asked else None,
            "page_url": page_url,
            "rerank": link(reranking.request(index, results) if wants_rerank else None, request),
        }
        return Response(SearchAnswerSerializer(results, context=context).data)


def _refuse_a_large_body(request: Request) -> None:
    """Before any of it is read."""
    allowed = FORM_BYTES
    if request.content_type.startswith("multipart/"):
        allowed += settings.MAX_IMAGE_BYTES
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:  # not every server refuses a length that is none; Django reads nothing then
        length = 0
    if length > allowed:
        raise ImageTooLarge(f"The request has more than {allowed // 1024} KB; send a smaller picture.")


def merged(*sources: Any) -> dict[str, list[Any]]:
    """Every parameter's values without blank ones; a later source wins.

    Raises QueryError for what is not text, and for a value that is itself a list or an object.
    """
    parameters: dict[str, list[Any]] = {}
    for source in sources:
        for name in source:
            given = source.getlist(name) if isinstance(source, QueryDict) else source[name]
            values = [
                value
                for value in (given if isinstance(given, list) else [given])
                if value is not None and value != ""
            ]
            if not all(map(is_storable, (name, *values))):
                raise QueryError("The request has characters that are not text; type it anew.")
            if any(isinstance(value, dict | list) for value in values):
                raise QueryError(
                    f"{name[:60]!r} takes one value, or a list of them, and nothing nested deeper."
                )
            if name in NOT_FILTERS and (len(values) > 1 or isinstance(source.get(name), list)):
                raise QueryError(f"{name} takes one value.")
            if values:
                parameters[name] = values
    return parameters


PARAMETERS = {"limit", "offset", "index", "format"}
_UNKNOWN = {"code": "not_found", "detail": "The shop shows no such product."}


@extend_schema_serializer(component_name="SearchSimilarAnswer")
class SimilarAnswerSerializer(SearchAnswerSerializer):
    """A page of products that look like one, most alike first."""

    query = None  # type: ignore[assignment]
    match = None  # type: ignore[assignment]
    weak_below = None  # type: ignore[assignment]
    retrieval = None  # type: ignore[assignment]
    rerank = None  # type: ignore[assignment]
    facets = None  # type: ignore[assignment]


class SimilarView(SearchView):
    """Products that look like this one, by vectors that the store holds: no model is asked, and no picture is read."""

    http_method_names = ["get", "head", "options"]

    @extend_schema(
        operation_id="similar_products",
        tags=["search"],
        summary="Products that look like one",
        parameters=[
            OpenApiParameter(
                "product_id",
                OpenApiTypes.STR,
                OpenApiParameter.PATH,
                description="The product's primary key.",
            )
        ],
        responses={
            200: SimilarAnswerSerializer,
            404: OpenApiResponse(ErrorSerializer, "The shop shows no such product."),
            **REFUSALS,
        },
    )
    @asks_for_a_page
    def get(self, request: Request, product_id: str) -> Response:  # type: ignore[override]
        """Nothing, rather than an error, while the product is not indexed yet."""
        parameters = merged(request.query_params)
        if strange := (NOT_FILTERS - PARAMETERS) & parameters.keys():
            raise QueryError(f"{min(strange)} is no parameter of similar products.")
        form = SearchWords(data={name: parameters[name][-1] for name in PARAMETERS & parameters.keys()})
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        index = index_named(asked.get("index", ""))
        filters = {name: values for name, values in parameters.items() if name not in PARAMETERS}
        with admission.admitted("text"):
            images = shown_images(index, product_id)
            if not images:
                return Response(_UNKNOWN, status=status.HTTP_404_NOT_FOUND)
            found = similar(
                index.get_product(images[0]),
                index=index.name,
                filters=filters,
                limit=asked.get("limit"),
                offset=asked.get("offset", 0),
            )

            def page_url(offset: int) -> str:
                page = urlencode({**parameters, "offset": offset}, doseq=True)
                return request.build_absolute_uri(f"{request.path}?{page}")

            context = {"request": request, "index": index, "page_url": page_url}
            response = Response(SimilarAnswerSerializer(found, context=context).data)
        response["Cache-Control"] = f"private, max-age={MAX_AGE_SECONDS}"
        return response
