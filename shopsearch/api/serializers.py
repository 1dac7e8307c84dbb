"""What the REST API takes and answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlencode

from django.core.files.uploadedfile import UploadedFile
from django.core.handlers.asgi import ASGIRequest
from django.http import QueryDict
from django.utils.translation import gettext_lazy
from django.utils.translation import gettext_noop as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.versioning import QueryParameterVersioning
from rest_framework.views import APIView

from shopsearch import filters
from shopsearch.conf import settings
from shopsearch.exceptions import ImageTooLarge, QueryError
from shopsearch.models import RuleAction
from shopsearch.registry.keys import is_storable
from shopsearch.search.addresses import address_of
from shopsearch.search.examples import MAX_EXAMPLES, Box, Example
from shopsearch.search.facets import Facet, FacetRange, FacetValue, Number
from shopsearch.search.request import SearchAnswer
from shopsearch.search.rules import Banner, Rule
from shopsearch.search.suggestions import Category, Completion, Suggestions
from shopsearch.types import FilterType, Match, QueryKind, Result, Retrieval

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from rest_framework.request import Request

    from shopsearch.registry import ImageIndex


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


class ProductsField(serializers.ListField):
    """Keys of products, each a parameter of its own."""

    child = serializers.CharField()


class ExamplesField(serializers.Field[Any, Any, Any, Any]):
    """A list of objects in JSON: as it is in a body of JSON, as its text in an address or a form."""

    def to_internal_value(self, data: Any) -> list[Example]:
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except (ValueError, RecursionError):
                data = None
        if not (isinstance(data, list) and all(isinstance(each, dict) for each in data)):
            raise QueryError(_('examples is a list of objects, as [{"product": "12", "weight": -1}].'))
        return [_example(each) for each in data[: MAX_EXAMPLES + 1]]


def _example(given: dict[str, Any]) -> Example:
    if strange := given.keys() - {"product", "image_id", "weight"}:
        raise QueryError(
            _("An example has product or image_id, and weight; not %(name)r."), name=str(min(strange))[:60]
        )
    keys = {name: given[name] for name in ("product", "image_id") if given.get(name) is not None}
    if not all(isinstance(key, str | int) and is_storable(key) for key in keys.values()):
        raise QueryError(_("An example's product and image_id are ids, as results have them."))
    weight = given.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise QueryError(_("An example's weight is a number from -1 to 1, but not 0."))
    return Example(**keys, weight=weight)


class BoxField(serializers.CharField):
    """Four numbers separated by commas."""

    def to_internal_value(self, data: Any) -> Box:  # type: ignore[override]
        return Box.of(super().to_internal_value(data).split(","))


class WeightsField(serializers.CharField):
    """Numbers separated by commas."""

    def to_internal_value(self, data: Any) -> list[float]:  # type: ignore[override]
        try:
            return [float(each) for each in super().to_internal_value(data).split(",")]
        except ValueError:
            raise QueryError(_("image_weights are numbers from -1 to 1, such as 1,-0.5.")) from None


class NamesField(serializers.CharField):
    """Names separated by commas."""

    def to_internal_value(self, data: Any) -> list[str]:  # type: ignore[override]
        return super().to_internal_value(data).split(",")


def _whole_number(sentence: _StrPromise, help_text: str) -> serializers.IntegerField:
    return serializers.IntegerField(
        required=False,
        error_messages={"invalid": sentence, "max_string_length": sentence},
        help_text=help_text,
    )


class PageParameters(serializers.Serializer[Any]):
    """Which results of which index, and, under all other names, its filters.

    Validated, it is what a SearchRequest takes. What the search itself checks, such as the limits, is not checked here.
    """

    ignored = frozenset({"format"})

    limit = _whole_number(gettext_lazy("limit must be a whole number, 1 or more."), "Results per page.")
    offset = _whole_number(gettext_lazy("offset must be a whole number, 0 or more."), "Results to skip.")
    index = serializers.CharField(
        required=False, help_text="Which index to search, where a shop has several."
    )

    def to_internal_value(self, data: Mapping[str, list[Any]]) -> dict[str, Any]:
        """``data`` has every parameter's values, as ``parameters_of`` gives them."""
        data = {name: values for name, values in data.items() if name != _version_parameter()}
        names = set(self.fields)
        if strange := (RESERVED - names - self.ignored) & data.keys():
            raise QueryError(_("%(name)s is not a parameter here."), name=min(strange))
        own = {name: data[name] if name in MANY else data[name][-1] for name in names & data.keys()}
        filters = {name: values for name, values in data.items() if name not in RESERVED}
        return {**super().to_internal_value(own), "filters": filters}


def _version_parameter() -> str:
    """The parameter by which the project's clients name the version of its API; "" where they name none so."""
    versioning = APIView.versioning_class
    if versioning is None or not issubclass(versioning, QueryParameterVersioning):
        return ""
    return str(versioning.version_param)


class SearchParameters(PageParameters):
    """A search by words."""

    ignored = frozenset({"format", "page"})

    q = serializers.CharField(
        source="text", required=False, trim_whitespace=False, help_text="Words to search for."
    )
    correct = FlagField(
        required=False,
        error_messages={"invalid": gettext_lazy("correct must be true or false.")},
        help_text="false: search for the words as they are typed, errors and all.",
    )
    facets = NamesField(
        required=False,
        allow_blank=True,
        help_text="Filters whose values are to be counted, as category,price; * for all.",
    )
    sort = serializers.CharField(
        required=False,
        help_text="Another order of the most relevant results: newest, or a number such as price or -price.",
    )
    rerank = FlagField(
        source="wants_rerank",
        required=False,
        error_messages={"invalid": gettext_lazy("rerank must be true or false.")},
        help_text="Whether to make a better order, which can be asked for a moment later.",
    )
    like = ProductsField(
        required=False,
        help_text="Ids of products that the results should be like, by the shop's own pictures of them.",
    )
    unlike = ProductsField(required=False, help_text="Ids of products that the results should be unlike.")
    examples = ExamplesField(
        required=False,
        help_text=(
            "Products or images of the shop that the results should be like or unlike, with a weight from -1 to 1: "
            '[{"product": "12"}, {"image_id": "7", "weight": -0.5}]. In an address and in a form, the text of it. '
            f"At most {MAX_EXAMPLES} with those of like and unlike, and with the picture."
        ),
    )
    collect = FlagField(
        required=False,
        error_messages={"invalid": gettext_lazy("collect must be true or false.")},
        help_text="Whether the shopper lets the shop keep the words, where the shop collects any.",
    )


class SearchForm(SearchParameters):
    """A search by words, by a picture, or by both."""

    image = serializers.ListField(
        child=PictureField(
            allow_empty_file=True,
            error_messages={
                "invalid": gettext_lazy("Send the picture as a file of a multipart form, by POST.")
            },
        ),
        required=False,
        help_text=(
            "A picture to search with: a file of one of the formats that the shop takes. Or several, each an example; "
            "together they may be as large as one."
        ),
    )
    image_weights = WeightsField(
        required=False,
        help_text="How much each picture counts, from -1 (unlike it) to 1, in their order: 1,-0.5. 1 unless given.",
    )
    image_url = serializers.CharField(
        required=False,
        max_length=2_000,
        help_text="Instead of a file: the https address of a picture, where the shop fetches any; POST only.",
    )

    box = BoxField(
        required=False,
        help_text="The part of the first picture that is meant: left, top, width and height in shares of its own.",
    )

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "image_url" in asked and "image" in asked:
            raise QueryError(_("Send a picture or its address, not both."))
        if "box" in asked and not ("image_url" in asked or "image" in asked):
            raise QueryError(_("box is a part of a picture: send the picture as well."))
        files, weights = asked.pop("image", []), asked.pop("image_weights", None)
        if weights is not None and len(weights) != len(files):
            raise QueryError(_("image_weights has one number for each picture that is sent."))
        if sum(file.size for file in files) > settings.MAX_IMAGE_BYTES and len(files) > 1:
            raise ImageTooLarge(_("The pictures are too large together; send smaller ones."))
        pictures = [
            Example(image=file, weight=weight, box=asked.pop("box", None))  # the box is the first one's
            for file, weight in zip(files, weights or [1.0] * len(files), strict=True)
        ]
        examples = [*pictures, *asked.pop("examples", [])]
        examples += [Example(product=key) for key in asked.pop("like", [])]
        examples += [Example(product=key, weight=-1) for key in asked.pop("unlike", [])]
        return {**asked, "examples": tuple(examples)}


class SuggestParameters(PageParameters):
    """What is typed so far."""

    limit = None  # type: ignore[assignment]
    offset = None  # type: ignore[assignment]
    q = serializers.CharField(
        source="text", required=False, default="", trim_whitespace=False, help_text="What is typed so far."
    )
    language = serializers.CharField(
        required=False,
        max_length=20,
        help_text="What it is typed in, such as en; the request's unless given.",
    )

    def to_internal_value(self, data: Mapping[str, list[Any]]) -> dict[str, Any]:
        asked = super().to_internal_value(data)
        if filters := asked.pop("filters").keys() - {"language"}:
            raise QueryError(_("%(name)s is not a parameter here."), name=min(filters)[:60])
        return asked


RESERVED = frozenset(SearchForm().fields) | SearchForm.ignored
"""Parameters that no filter may be named like."""
MANY = frozenset({"like", "unlike", "image"})
"""Those of them that take several values."""


def parameters_of(*sources: Any) -> dict[str, list[Any]]:
    """Every parameter's values, without blank ones; a later source wins.

    Raises QueryError for what is not text, and for a value that is itself a list or an object.
    """
    parameters: dict[str, list[Any]] = {}
    for source in sources:
        for name in source:
            is_form = isinstance(source, QueryDict)
            given = source.getlist(name) if is_form else source[name]
            is_list = isinstance(given, list) and (is_form or name != "examples")
            values = [value for value in (given if is_list else [given]) if value is not None and value != ""]
            if name != "image" and any(isinstance(value, UploadedFile) for value in values):
                raise QueryError(_("%(name)r cannot be a file; only image is one."), name=name[:60])
            if not all(map(is_storable, (name, *values))):
                raise QueryError(_("The request has characters that are not text; type it again."))
            if name == "examples" and len(values) < 2:
                parameters.update({name: values} if values else {})
                continue
            if any(isinstance(value, dict | list) for value in values):
                raise QueryError(
                    _("%(name)r takes one value, or a list of them, and nothing nested deeper."),
                    name=name[:60],
                )
            is_one = name in RESERVED and name not in MANY
            if is_one and (len(values) > 1 or isinstance(source.get(name), list)):
                raise QueryError(_("%(name)s takes one value."), name=name)
            if values:
                parameters[name] = values
    return parameters


# The schema calls these Search…, so that no name clashes with a component of the shop.


@extend_schema_field({"type": "object", "additionalProperties": {"type": "array", "items": {}}})
class FiltersField(serializers.DictField):
    """The values of each filter."""


@extend_schema_serializer(component_name="SearchQuery")
class QuerySerializer(serializers.Serializer[SearchAnswer]):
    """How the request was understood."""

    kind = serializers.ChoiceField(get_args(QueryKind))
    text = serializers.CharField(allow_blank=True)
    filters = FiltersField(read_only=True, help_text="The values asked for, by filter.")


@extend_schema_serializer(component_name="SearchProduct")
class ProductSerializer(serializers.Serializer[dict[str, Any]]):
    """A product as its index describes it; an index may add keys."""

    id = serializers.SerializerMethodField()
    title = serializers.CharField()
    url = serializers.CharField(allow_blank=True, help_text='Absolute; "" where the product has no page.')
    image = serializers.CharField(
        allow_blank=True,
        help_text='Absolute; the image that found the product. "" for a product without a picture.',
    )

    @extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string"}]})
    def get_id(self, product: dict[str, Any]) -> Any:
        return product["id"]


def written_product(index: ImageIndex, product: Any, image: Any, request: Request) -> dict[str, Any]:
    """Everything that the index says of a product, addresses made absolute."""
    said = index.described(product, image, request)
    absolute = request.build_absolute_uri
    return {**said, **{name: absolute(said[name]) for name in ("url", "image") if said.get(name)}}


@extend_schema_serializer(component_name="SearchResult")
class ResultSerializer(serializers.Serializer[Result]):
    """One product."""

    rank = serializers.IntegerField(min_value=1, help_text="1 for the best; goes on over the pages.")
    score = serializers.FloatField(read_only=True, help_text="The cosine, from -1 to 1: higher is better.")
    product = ProductSerializer(read_only=True)
    image_id = serializers.CharField(
        allow_blank=True,
        help_text='The image that found the product; "" where words found a product without a picture.',
    )


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

    value = serializers.SerializerMethodField("typed_value", help_text="What the filter takes.")
    label = serializers.CharField(help_text="What shoppers read for it.")  # type: ignore[assignment]
    count = serializers.IntegerField(min_value=0, help_text="How many products have it.")

    @extend_schema_field({"oneOf": [{"type": "string"}, {"type": "boolean"}]})
    def typed_value(self, value: FacetValue) -> str | bool:
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


_FACET = FacetSerializer()
"""Made once: it keeps nothing of what it writes."""


@extend_schema_serializer(component_name="SearchTotal")
class TotalSerializer(serializers.Serializer[Number]):
    """How many results all pages have together."""

    value = serializers.IntegerField(min_value=0)
    exact = serializers.BooleanField(help_text="false: there are more than that.")


@extend_schema_serializer(component_name="SearchFiredRule")
class FiredRuleSerializer(serializers.Serializer[Rule]):
    """A rule of the house that this search fired."""

    name = serializers.CharField()
    actions = serializers.ListField(
        child=serializers.ChoiceField(RuleAction.Kind.choices), help_text="What it does."
    )


@extend_schema_serializer(component_name="SearchBanner")
class BannerSerializer(serializers.Serializer[Banner]):
    """What a rule says above the results."""

    text = serializers.CharField()
    address = serializers.CharField(read_only=True, allow_null=True, help_text="Where it leads, or null.")


@extend_schema_serializer(component_name="SearchAnswer")
class SearchAnswerSerializer(serializers.Serializer[SearchAnswer]):
    """A page of results, best first."""

    # Its context: request, index, and the parameters that the addresses of other pages carry.
    query = QuerySerializer()
    results = ResultSerializer(many=True)
    match = serializers.ChoiceField(
        get_args(Match),
        read_only=True,
        help_text=(
            "weak: the shop may not sell what is looked for, and the results are only the closest it has; unknown: "
            "this was never calibrated."
        ),
    )
    weak_below = serializers.FloatField(
        read_only=True,
        allow_null=True,
        help_text="The score under which a result is a weak match of this query, or null.",
    )
    retrieval = serializers.ChoiceField(
        get_args(Retrieval),
        help_text="What found the results: hybrid is words and vectors together, as the index declares.",
    )
    corrected = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="What was searched for instead of the words that were typed; null where they had no typing errors.",
    )
    facets = serializers.DictField(
        child=FacetSerializer(), required=False, help_text="By filter; only where facets were asked for."
    )
    total = TotalSerializer(
        allow_null=True,
        help_text="The number of results; null where no facets were asked for, and where they count the whole shop.",
    )
    rules = FiredRuleSerializer(many=True, help_text="The rules of the house that this search fired.")
    banner = BannerSerializer(allow_null=True, help_text="What a rule says above the results, or null.")
    redirect = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="Where a rule leads this search, instead of to its results: the front end goes there. Null for none.",
    )
    count = serializers.IntegerField(read_only=True, help_text="How many results are on this page.")
    next = serializers.URLField(
        read_only=True,
        allow_null=True,
        help_text="The next page's address, or null. A search by picture needs the picture posted to it again.",
    )
    previous = serializers.URLField(read_only=True, allow_null=True, help_text="The page before, or null.")
    rerank = RerankLinkSerializer(
        read_only=True,
        allow_null=True,
        help_text="Where to ask for the better order; null where none was asked for or there is nothing to gain.",
    )

    def to_representation(self, answer: SearchAnswer) -> dict[str, Any]:
        """Written out: REST framework would copy every field, and ask it for its part, for each answer."""
        index, request = answer.index, self.context["request"]
        written = {
            "query": {
                "kind": answer.query.kind,
                "text": answer.query.text,
                "filters": answer.request.filters,
            },
            "results": [
                {
                    "rank": each.rank,
                    "score": round(each.score, 4),
                    "product": written_product(index, each.product, each.image, request),
                    "image_id": each.image_id,
                }
                for each in answer.results
            ],
            "match": answer.match,
            "weak_below": None if answer.weak_below is None else round(answer.weak_below, 4),
            "retrieval": answer.retrieval,
            "corrected": answer.corrected or None,
            "facets": {each.name: _FACET.to_representation(each) for each in answer.facets or ()},
            "total": answer.number and {"value": answer.number.value, "exact": answer.number.is_exact},
            "rules": [{"name": each.name, "actions": each.kinds} for each in answer.rules],
            "banner": answer.banner
            and {"text": answer.banner.text, "address": answer.banner.address or None},
            "redirect": answer.redirect or None,
            "count": len(answer.results),
            "next": self._page_url(answer.offset + answer.limit) if answer.has_next else None,
            "previous": self._page_url(max(0, answer.offset - answer.limit)) if answer.offset else None,
            "rerank": self._rerank_link(answer),
        }
        if answer.facets is None:
            del written["facets"]
        return {name: written[name] for name in self._declared_fields if name in written}

    def _page_url(self, offset: int) -> str:
        """With every parameter but the picture, which is not kept."""
        request, parameters = self.context["request"], self.context["parameters"]
        left_out = ("image", "image_url", "offset")
        kept = {name: values for name, values in parameters.items() if name not in left_out}
        if "examples" in kept and not isinstance(kept["examples"][0], str):
            kept["examples"] = [json.dumps(kept["examples"][0], separators=(",", ":"))]
        query = urlencode({**kept, "offset": offset}, doseq=True)
        return str(request.build_absolute_uri(f"{request.path}?{query}"))

    def _rerank_link(self, answer: SearchAnswer) -> dict[str, Any] | None:
        if answer.rerank is None:
            return None
        request = self.context["request"]
        url = request.build_absolute_uri(address_of("api-rerank", answer.rerank.pk))
        streams = settings.RERANK_EVENTS and isinstance(request._request, ASGIRequest)
        return {
            "id": str(answer.rerank.pk),
            "state": answer.rerank.state,
            "url": url,
            "events_url": f"{url}events/" if streams else None,
        }


@extend_schema_serializer(component_name="SearchSimilarAnswer")
class SimilarAnswerSerializer(SearchAnswerSerializer):
    """A page of products that look like one, most alike first."""

    query = None  # type: ignore[assignment]
    match = None  # type: ignore[assignment]
    weak_below = None  # type: ignore[assignment]
    retrieval = None  # type: ignore[assignment]
    corrected = None  # type: ignore[assignment]
    rules = None  # type: ignore[assignment]
    banner = None  # type: ignore[assignment]
    redirect = None  # type: ignore[assignment]
    rerank = None  # type: ignore[assignment]
    facets = None  # type: ignore[assignment]
    total = None  # type: ignore[assignment]


@extend_schema_serializer(component_name="SearchCompletion")
class CompletionSerializer(serializers.Serializer[Completion]):
    """A whole query that begins as what is typed."""

    text = serializers.CharField()
    popular = serializers.BooleanField(
        source="is_popular",
        help_text="Whether shoppers who allow it ask for it often; else it is the shop's word.",
    )
    url = serializers.SerializerMethodField(help_text="The search page's address.")

    @extend_schema_field(OpenApiTypes.URI)
    def get_url(self, completion: Completion) -> str:
        return _search_page(self.context, {"q": completion.text})


@extend_schema_serializer(component_name="SearchCategory")
class CategorySerializer(serializers.Serializer[Category]):
    """A filter's value whose name begins as what is typed."""

    filter = serializers.CharField()
    value = serializers.CharField(help_text="What the filter takes.")
    label = serializers.CharField(help_text="What shoppers read for the value.")  # type: ignore[assignment]
    filter_label = serializers.CharField(help_text="What shoppers read for the filter.")
    count = serializers.IntegerField(min_value=0, help_text="How many products have it, as counted last.")
    url = serializers.SerializerMethodField(help_text="The search page's address.")

    @extend_schema_field(OpenApiTypes.URI)
    def get_url(self, category: Category) -> str:
        return _search_page(self.context, {"q": category.label, category.filter: category.value})


@extend_schema_serializer(component_name="SearchSuggestions")
class SuggestionsSerializer(serializers.Serializer[Suggestions]):
    """What a shopper may mean, the most likely of each kind first."""

    # Its context: request, and the name of the index that was asked for.
    text = serializers.CharField(help_text="What is typed.")
    completions = CompletionSerializer(many=True)
    categories = CategorySerializer(many=True)
    products = serializers.SerializerMethodField()

    @extend_schema_field(ProductSerializer(many=True))
    def get_products(self, suggestions: Suggestions) -> list[dict[str, Any]]:
        request, index = self.context["request"], suggestions.index
        return [
            written_product(index, index.get_product(image), image, request) for image in suggestions.images
        ]


def _search_page(context: Mapping[str, Any], parameters: Mapping[str, str]) -> str:
    """The search page's absolute address with these parameters, and with the index that was asked for."""
    index = {"index": context["index"]} if context["index"] else {}
    return str(
        context["request"].build_absolute_uri(f"{address_of('search')}?{urlencode({**parameters, **index})}")
    )


@extend_schema_serializer(component_name="SearchError")
class ErrorSerializer(serializers.Serializer[dict[str, str]]):
    """What is wrong, for a program and for a person."""

    code = serializers.CharField(help_text="Stable; lower case.")
    detail = serializers.CharField(help_text="A sentence that says what to do.")
