"""What the REST API takes and answers."""

from __future__ import annotations

from typing import Any, get_args

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from shopsearch import filters
from shopsearch.registry.index import described
from shopsearch.search.facets import Facet, FacetRange, FacetValue
from shopsearch.types import FilterType, Match, QueryKind, Result, Results, Retrieval


@extend_schema_field(OpenApiTypes.BINARY)
class PictureField(serializers.FileField):
    """A file; what is in it is for ``shopsearch.images.decode`` to judge."""


class FlagField(serializers.BooleanField):
    """True or false, as filters understand them."""

    def to_internal_value(self, data: Any) -> bool:
        written = str(data).lower()
        if written not in filters.TRUE + filters.FALSE:
            self.fail("invalid", input=data)
        return written in filters.TRUE


class SearchWords(serializers.Serializer[Any]):
    """A search by words, without its filters."""

    q = serializers.CharField(
        required=False, allow_blank=True, trim_whitespace=False, help_text="Words to search for."
    )
    limit = serializers.IntegerField(
        required=False,
        error_messages=dict.fromkeys(
            ("invalid", "max_string_length"), "limit must be a whole number, 1 or more."
        ),
        help_text="Results per page.",
    )
    offset = serializers.IntegerField(
        required=False,
        error_messages=dict.fromkeys(
            ("invalid", "max_string_length"), "offset must be a whole number, 0 or more."
        ),
        help_text="Results to pass over.",
    )
    index = serializers.CharField(
        required=False, help_text="Which index to search, where a shop has several."
    )
    rerank = FlagField(
        required=False,
        error_messages={"invalid": "rerank must be true or false."},
        help_text="Whether a better order is wanted, to be asked for a moment later.",
    )
    collect = FlagField(
        required=False,
        error_messages={"invalid": "collect must be true or false."},
        help_text="Whether the shopper lets the shop keep the words, where the shop collects any.",
    )
    facets = serializers.CharField(
        required=False,
        allow_blank=True,
        help_text="Filters whose values are to be counted, as category,price; * for all.",
    )
    sort = serializers.CharField(
        required=False,
        allow_blank=True,
        help_text="Another order of the most relevant results: newest, or a number such as price or -price.",
    )
    image_url = serializers.CharField(
        required=False,
        max_length=2_000,
        help_text="The https address of a picture to search with, where the shop fetches any; POST only.",
    )


class SearchForm(SearchWords):
    """A search by words, by picture, or by both, without its filters."""

    image = PictureField(
        required=False,
        allow_empty_file=True,
        error_messages={"invalid": "Send the picture as a file of a multipart form, by POST."},
        help_text="A picture to search with: a JPEG, PNG, WebP, GIF or AVIF file.",
    )


# In the schema these are called Search…, so that none meets a component of the shop's own.


@extend_schema_serializer(component_name="SearchQuery")
class AskedSerializer(serializers.Serializer[Results]):
    """How the request was understood."""

    kind = serializers.ChoiceField(get_args(QueryKind), source="query.kind")
    text = serializers.CharField(source="query.text", allow_blank=True)
    filters = serializers.SerializerMethodField(help_text="The values asked for, by filter.")

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "array", "items": {}}})
    def get_filters(self, results: Results) -> dict[str, list[Any]]:
        filters: dict[str, list[Any]] = self.context["filters"]
        return filters


@extend_schema_serializer(component_name="SearchProduct")
class ProductSerializer(serializers.Serializer[dict[str, Any]]):
    """A product as its index describes it; an index may add keys."""

    id = serializers.SerializerMethodField()
    title = serializers.CharField()
    url = serializers.CharField(allow_blank=True, help_text='Absolute; "" where the product has no page.')
    image = serializers.CharField(allow_blank=True, help_text="Absolute; the image that found the product.")

    @extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string"}]})
    def get_id(self, product: dict[str, Any]) -> Any:
        return product["id"]

    def to_representation(self, product: dict[str, Any]) -> dict[str, Any]:
        """Everything that the index says, addresses made absolute."""
        absolute = self.context["request"].build_absolute_uri
        addresses = {name: absolute(product[name]) for name in ("url", "image") if product.get(name)}
        return {**product, **addresses}


@extend_schema_serializer(component_name="SearchResult")
class ResultSerializer(serializers.Serializer[Result]):
    """One product."""

    rank = serializers.IntegerField(min_value=1, help_text="1 for the best; goes on over the pages.")
    score = serializers.SerializerMethodField(help_text="The cosine, from -1 to 1: higher is better.")
    product = serializers.SerializerMethodField()
    image_id = serializers.CharField(source="image.pk", help_text="The image that found the product.")

    def get_score(self, result: Result) -> float:
        return round(result.score, 4)

    @extend_schema_field(ProductSerializer)
    def get_product(self, result: Result) -> dict[str, Any]:
        product = described(self.context["index"], result.product, result.image)
        return ProductSerializer(product, context=self.context).data


@extend_schema_serializer(component_name="SearchRerankLink")
class RerankLinkSerializer(serializers.Serializer[dict[str, Any]]):
    """Where to ask for the better order."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(("queued", "running", "done", "failed", "expired"))
    url = serializers.URLField(help_text="Poll it until the state is final.")
    events_url = serializers.URLField(allow_null=True, help_text="Server-sent events, where they are served.")


@extend_schema_serializer(component_name="SearchFacetValue")
class FacetValueSerializer(serializers.Serializer[FacetValue]):
    """A value of a filter."""

    value = serializers.SerializerMethodField("told", help_text="What the filter takes.")
    label = serializers.CharField(help_text="What shoppers read for it.")  # type: ignore[assignment]
    count = serializers.IntegerField(min_value=0, help_text="How many products have it.")

    @extend_schema_field({"oneOf": [{"type": "string"}, {"type": "boolean"}]})
    def told(self, value: FacetValue) -> str | bool:
        return value.value


@extend_schema_serializer(component_name="SearchFacetRange")
class FacetRangeSerializer(serializers.Serializer[FacetRange]):
    """A range of a number; both bounds are included."""

    gte = serializers.FloatField(source="minimum", allow_null=True, help_text="null: open.")
    lte = serializers.FloatField(source="maximum", allow_null=True, help_text="null: open.")
    count = serializers.IntegerField(min_value=0, help_text="How many products lie in it.")


@extend_schema_serializer(component_name="SearchFacet")
class FacetSerializer(serializers.Serializer[Facet]):
    """What each value of one filter would leave, all other filters being as they are."""

    kind = serializers.ChoiceField(get_args(FilterType))
    label = serializers.CharField(help_text="What shoppers read for the filter.")  # type: ignore[assignment]
    exact = serializers.BooleanField(
        source="is_exact", help_text="false: the shop was too large to look at all, and there may be more."
    )
    values = FacetValueSerializer(many=True, help_text="The most frequent first; none of a number.")
    has_more = serializers.BooleanField(help_text="Whether there are further values.")
    minimum = serializers.FloatField(allow_null=True, help_text="The least number.")
    maximum = serializers.FloatField(allow_null=True, help_text="The greatest number.")
    ranges = FacetRangeSerializer(many=True, help_text="A few round ones; none where there is no choice.")


@extend_schema_serializer(component_name="SearchAnswer")
class SearchAnswerSerializer(serializers.Serializer[Results]):
    """A page of results, best first."""

    # Its context: request, index, filters, facets, and page_url, which makes an offset an address.
    query = AskedSerializer(source="*")
    results = ResultSerializer(many=True)
    match = serializers.SerializerMethodField(
        help_text=(
            "weak: the shop may not sell what is looked for, and the results are only the closest it has; unknown: "
            "this was never calibrated."
        )
    )
    weak_below = serializers.SerializerMethodField(
        help_text="The score under which a result is a weak match of this query, or null."
    )
    retrieval = serializers.ChoiceField(
        get_args(Retrieval),
        help_text="What found the results: hybrid is words and vectors together, as the index declares.",
    )
    facets = serializers.DictField(
        child=FacetSerializer(), required=False, help_text="By filter; only where facets were asked for."
    )
    count = serializers.SerializerMethodField(help_text="How many results are on this page.")
    next = serializers.SerializerMethodField(
        help_text="The next page's address, or null. A search by picture needs the picture posted to it again."
    )
    previous = serializers.SerializerMethodField(help_text="The page before, or null.")
    rerank = serializers.SerializerMethodField(
        help_text="Where to ask for the better order; null where none was asked for or there is nothing to gain."
    )

    def to_representation(self, results: Results) -> dict[str, Any]:
        found: list[Facet] | None = self.context.get("facets")
        told = {} if found is None else {"facets": {each.name: FacetSerializer(each).data for each in found}}
        return {**super().to_representation(results), **told}

    @extend_schema_field({"type": "string", "enum": list(get_args(Match))})
    def get_match(self, results: Results) -> str:
        return results.match

    @extend_schema_field({"type": "number", "nullable": True})
    def get_weak_below(self, results: Results) -> float | None:
        return None if results.weak_below is None else round(results.weak_below, 4)

    def get_count(self, results: Results) -> int:
        return len(results.results)

    @extend_schema_field({"type": "string", "format": "uri", "nullable": True})
    def get_next(self, results: Results) -> str | None:
        return self.context["page_url"](results.offset + results.limit) if results.has_next else None

    @extend_schema_field({"type": "string", "format": "uri", "nullable": True})
    def get_previous(self, results: Results) -> str | None:
        return self.context["page_url"](max(0, results.offset - results.limit)) if results.offset else None

    @extend_schema_field(RerankLinkSerializer(allow_null=True))
    def get_rerank(self, results: Results) -> dict[str, Any] | None:
        link: dict[str, Any] | None = self.context["rerank"]
        return link


@extend_schema_serializer(component_name="SearchError")
class ErrorSerializer(serializers.Serializer[dict[str, str]]):
    """What is wrong, for a program and for a person."""

    code = serializers.CharField(help_text="Stable; lower case.")
    detail = serializers.CharField(help_text="A sentence that says what to do.")
