"""The REST API of products: those that look like one."""

from __future__ import annotations

from urllib.parse import urlencode

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_serializer,
)
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from shopsearch import admission
from shopsearch.exceptions import QueryError
from shopsearch.openapi import asks_for_a_page
from shopsearch.search import index_named
from shopsearch.serializers import ErrorSerializer, SearchAnswerSerializer, SearchWords
from shopsearch.similar import shown_images, similar
from shopsearch.views import MAX_AGE_SECONDS, NOT_FILTERS, REFUSALS, SearchView, merged

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
