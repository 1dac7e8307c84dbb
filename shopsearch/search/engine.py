"""Answer a search request: one line of steps, whoever asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from PIL.Image import Image

from shopsearch.backends import get_query_embedder, get_reranker, get_vector_store
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, EmptyQuery, ImageError, ImageUnreadable, QueryError
from shopsearch.filters import Filter, conditions, parse
from shopsearch.images import decode, normalised
from shopsearch.models import Collection
from shopsearch.registry import ImageIndex, find_index, get_index, get_indexes
from shopsearch.registry.keys import keys_from
from shopsearch.search import calibration, reranking, retrieval, rules, sorting
from shopsearch.search.facets import facet_names, facets, number_of_products
from shopsearch.search.request import SearchAnswer, SearchRequest
from shopsearch.search.result_set import ResultSet, result_set
from shopsearch.search.retrieval import Found, Replaced
from shopsearch.search.spelling import spelling_of
from shopsearch.search.synonyms import synonyms_of
from shopsearch.search.understanding import UnderstoodText, understand
from shopsearch.telemetry.metrics import timed
from shopsearch.types import Query, Result

if TYPE_CHECKING:
    from shopsearch.types import Vector, Vectors

EXCLUDED_WEIGHT = 0.4
"""What the vector of an excluded word counts, whose own is 1."""
MAX_IMAGES = 64
"""Of a product with more images, the first ones say what it looks like."""


def search(
    text: str = "",
    image: Image | None = None,
    *,
    index: str = "",
    filters: Mapping[str, object] | None = None,
    limit: int | None = None,
    offset: int = 0,
    sort: str = "",
    correct: bool = True,
) -> SearchAnswer:
    """The products that match the words, the picture, or both together, best first, each once.

    ``image`` is a picture from ``shopsearch.images.decode``; only a copy of SHOPSEARCH["QUERY_IMAGE_SIDE"] pixels is
    looked at, kept or sent on. ``filters`` is what ``shopsearch.filters.parse`` takes:
    ``{"category": ["mug", "plate"], "price__lte": 20}``. ``limit`` is SHOPSEARCH["PAGE_SIZE"] unless given; the page
    that reaches past SHOPSEARCH["MAX_RESULTS"] is shorter. ``sort`` is one of ``search.sorting.sort_names``: the
    SHOPSEARCH["SORTED_RESULTS"] most relevant come in that order, and no others. Typing errors are corrected, and the
    answer says how, unless ``correct`` is False. Only images in the index's queryset
    are in the answer, whatever the vector store still holds.

    Raises EmptyQuery, FilterError and QueryError for what the caller can correct; EmbedderError and
    VectorStoreError while a backend is away.
    """
    asked = SearchRequest(
        text=text,
        image=image,
        index=index,
        filters=filters or {},
        limit=limit,
        offset=offset,
        sort=sort,
        correct=correct,
    )
    return answer(asked)


def similar(
    product: Any,
    *,
    index: str = "",
    filters: Mapping[str, object] | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> SearchAnswer:
    """The products that look like this one, most alike first, each once; never itself, nor one that the shop hides.

    Nothing while the product is not indexed, and for one that the shop does not show. ``filters``, ``limit`` and
    ``offset`` are those of ``search``; ``index`` is the one of the product's model unless given. A product of several
    pictures is searched for by the mean of their vectors: neither their order nor a single odd one decides.

    Raises FilterError and QueryError for what the caller can correct, and VectorStoreError while the store is away.
    """
    asked = SearchRequest(
        like_product=product.pk,
        index=index or _index_of(product).name,
        filters=filters or {},
        limit=limit,
        offset=offset,
    )
    return answer(asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A search request whose every part has been checked."""

    request: SearchRequest
    index: ImageIndex
    query: Query
    words: UnderstoodText
    like: Sequence[Any]
    """The images of the shop that the results should be like."""
    condition: Filter | None
    sort: str
    """"" for relevance."""
    limit: int
    facets: Sequence[str] | None

    @property
    def end(self) -> int:
        return self.request.offset + self.limit

    @property
    def is_by_stored_vector(self) -> bool:
        """Whether a vector that the store holds is searched with, unless it has none."""
        return not self.query.text and (self.request.like_product is not None or bool(self.like))


@timed("total")
def answer(request: SearchRequest) -> SearchAnswer:
    """Understand -> embed -> retrieve, fuse, group -> apply rules -> sort -> page -> facets -> rerank.

    Raises what ``search`` raises, and ImageError for a picture that cannot be used.
    """
    asked = understood(request)
    found, weak_below, among, fired = retrieved(asked)
    answered = SearchAnswer(
        request=request,
        index=asked.index,
        query=asked.query,
        corrected=asked.words.corrected,
        results=page_of(asked, found),
        offset=request.offset,
        limit=asked.limit,
        has_next=asked.end < min(len(found.ranked), settings.MAX_RESULTS),
        weak_below=weak_below,
        match=calibration.match_of(found.best, weak_below),
        retrieval=found.retrieval,
        is_named=found.is_named,
        like=asked.like[0] if asked.like else None,
        facets=None if asked.facets is None else facets(asked.index, asked.condition, asked.facets, among),
        number=None if among is None else number_of_products(asked.index, asked.condition, among),
        rules=fired,
        banner=rules.banner_of(fired),
        redirect=rules.redirect_of(fired),
    )
    if request.wants_rerank and not asked.sort:
        return replace(answered, rerank=reranking.request(asked.index, answered))
    return answered


def understood(request: SearchRequest) -> Understood:
    """Raises QueryError, FilterError and ImageError with what the caller can correct."""
    index = index_named(request.index)
    limit = _page_size(request)
    condition = parse(request.filters, index.filter_types)
    sort = sorting.checked_sort(index, request.sort)
    counted = None if request.facets is None else facet_names(index, request.facets)
    like = _images_of_the_shop(index, request)
    query = _query(index, request, like)
    words = _words(index, request, query)
    return Understood(
        request=request,
        index=index,
        query=replace(query, text=words.text),
        words=words,
        like=like,
        condition=condition,
        sort=sort,
        limit=limit,
        facets=counted,
    )


def index_named(name: str) -> ImageIndex:
    """The index of this name; without one, that of the shop's product images. Raises QueryError with the names."""
    if name and find_index(name) is None:
        known_names = ", ".join(known.name for known in get_indexes())
        raise QueryError(
            _("There is no index %(name)r; use one of: %(known)s.") % {"name": name, "known": known_names}
        )
    return get_index(name)


def _index_of(product: Any) -> ImageIndex:
    """The index that finds products of this one's model; the shop's own where there are several."""
    own = get_index()
    kin = (each for each in (own, *get_indexes()) if isinstance(product, each.product_model))
    return next(kin, own)


def _page_size(request: SearchRequest) -> int:
    """How many results the page has at most. Raises QueryError for a page out of bounds, with the bounds."""
    limit = settings.PAGE_SIZE if request.limit is None else request.limit
    if not 1 <= limit <= settings.MAX_PAGE_SIZE:
        raise QueryError(_("limit must be a number from 1 to %(most)s.") % {"most": settings.MAX_PAGE_SIZE})
    deepest = settings.MAX_RESULTS - 1
    if not 0 <= request.offset <= deepest:
        raise QueryError(
            _("offset must be a number from 0 to %(deepest)s; narrow the search to see what is further down.")
            % {"deepest": deepest}
        )
    return int(min(limit, settings.MAX_RESULTS - request.offset))


def _images_of_the_shop(index: ImageIndex, request: SearchRequest) -> Sequence[Any]:
    """The images that the results should be like. Raises QueryError for an image that the shop does not show."""
    images = index.get_queryset()
    if request.like_product is not None:
        return list(index.images_of([request.like_product], images)[:MAX_IMAGES])
    if request.like_image is None:
        return ()
    shown = list(images.filter(pk__in=keys_from(index.model, [request.like_image])))
    if not shown or index.get_product(shown[0]) is None:
        raise QueryError(_("That product is no longer in the shop. Search for something else."))
    return shown


def _query(index: ImageIndex, request: SearchRequest, like: Sequence[Any]) -> Query:
    """The words without extra spaces, and the picture made small; empty for a product of the shop.

    An image of the shop is opened where its stored vector is not enough: for words beside it, and for a reranker.
    """
    if request.like_product is not None:
        return Query()
    if len(request.text) > settings.MAX_QUERY_CHARACTERS:
        raise QueryError(
            _("The text is too long; use at most %(most)s characters.")
            % {"most": settings.MAX_QUERY_CHARACTERS}
        )
    text, image = " ".join(request.text.split()), request.image
    if like and text:
        image = _opened(index, like[0])
    elif like and request.wants_rerank and get_reranker() is not None:
        with suppress(ImageError):
            image = _opened(index, like[0])
    elif not text and image is None and not like:
        raise EmptyQuery
    if image is not None and not isinstance(image, Image):
        image = decode(image)
    return Query(text=text, image=None if image is None else normalised(image))


def _words(index: ImageIndex, request: SearchRequest, query: Query) -> UnderstoodText:
    """What is meant by the words, where the index declares words that products are found by."""
    if not query.text or not index.words_field:
        return UnderstoodText(text=query.text)
    language = index.query_language(request.language)
    synonyms = synonyms_of(language)
    corrected = None
    if request.correct and settings.CORRECT_TYPING:
        said = synonyms.said if synonyms else ()
        corrected = partial(spelling_of(index, language).corrected, said=said)
    return understand(
        query.text,
        language=language,
        corrected=corrected,
        synonyms=synonyms,
        operators=settings.OPERATORS and query.kind == "text",
    )


def _opened(index: ImageIndex, image: Any) -> Image:
    try:
        with index.open_image(image) as file:
            return decode(file)
    except (OSError, ValueError) as error:
        raise ImageUnreadable(_("The picture of that product cannot be opened. Try another one.")) from error


def retrieved(asked: Understood) -> tuple[Found, float | None, ResultSet | None, Sequence[rules.Rule]]:
    """The best products, the score below which they are a weak match, for facets the result set, and the fired rules.

    The model that embeds the query is the one that made the live collection, even if another one goes live meanwhile.
    """
    index = asked.index
    own = {index.get_product(image).pk for image in asked.like}
    wanted = settings.SORTED_RESULTS if asked.sort else asked.end + 1
    while True:
        collection = retrieval.live(index)
        if collection is not None:
            _check_filters(asked, collection)
        try:
            vector, weak_below = embedded(asked, collection)
            if collection is None or vector is None:
                return Found(), weak_below, None, ()
            target = retrieval.target(
                index, collection, asked.query, vector, asked.condition, asked.words, weak_below=weak_below
            )
            fired = _fired(asked, collection, vector)
            effect = rules.effect_of(fired)
            sought = wanted + effect.reach
            found = retrieval.products(target, wanted=sought, without=own | effect.hidden)
            among = None
            if asked.facets is not None and found.has_match:
                among = result_set(replace(target, condition=None))
            if effect.moves:
                found = rules.applied(target, found, effect, wanted=wanted, sought=sought, without=own)
                among = rules.counted(among, effect)
            return found, weak_below, among, fired
        except Replaced:
            continue


def _fired(asked: Understood, collection: Collection, vector: Vector) -> Sequence[rules.Rule]:
    """The rules that the search fires. What is like a product, on that product's own page, is no search."""
    request, query = asked.request, asked.query
    if request.like_product is not None:
        return ()
    known = request.rules
    if known is None:
        known = rules.in_force(asked.index, collection.space)
    if not known:
        return ()
    look = None if query.kind == "text" and not asked.is_by_stored_vector else vector
    if query.kind == "composed" and any(rule.look is not None for rule in known):
        # The words say how the product should differ from the picture: the rule means the picture.
        look = get_query_embedder(collection.space).embed([Query(image=query.image)])[0]
    words = asked.words
    typed = words.text if words.excluded else words.typed or words.text
    return rules.match(
        known,
        rules.Asked(
            texts=tuple(filter(None, (typed, words.corrected))),
            language=request.language,
            condition=asked.condition,
            look=look,
            space=collection.space,
        ),
    )


def _check_filters(asked: Understood, collection: Collection) -> None:
    """Raises BackendError for a filter that was declared after the live collection was made."""
    types = asked.index.filter_types
    for each in conditions(asked.condition):
        held = collection.fields.get(each.field)
        if ("string" if held == "partition" else held) != types[each.field]:
            raise BackendError(
                f"The filter {each.field!r} is being built; it works as soon as "
                "`manage.py shopsearch_reindex --rebuild` is done."
            )


def embedded(asked: Understood, collection: Collection | None) -> tuple[Vector | None, float | None]:
    """What to search with, and the score below which a result is a weak match; a stored vector has no such score.

    None for a product of which the store has no vector.
    """
    index, query = asked.index, asked.query
    if asked.is_by_stored_vector:
        vector = _stored_vector(index, collection, asked.like)
        if vector is not None or asked.request.like_product is not None:
            return vector, None
        query = replace(query, image=query.image or normalised(_opened(index, asked.like[0])))
    space = collection.space if collection else ""
    with timed("embed"):
        embedded = get_query_embedder(space).embed(
            [query, *(Query(text=each) for each in asked.words.excluded)]
        )
        vector = without(embedded[0], embedded[1:])
    return vector, calibration.weak_below(index.name, space, query.kind, vector)


def without(vector: Vector, excluded: Sequence[Vector] | Vectors) -> Vector:
    """The vector turned away from what is excluded, so little that it stays nearest to what is wanted."""
    if not len(excluded):
        return vector
    import numpy as np

    away = vector - EXCLUDED_WEIGHT * np.mean(excluded, axis=0)
    return np.asarray(away / np.linalg.norm(away), np.float32)


def _stored_vector(index: ImageIndex, collection: Collection | None, images: Sequence[Any]) -> Vector | None:
    """The mean of what the collection holds of these images; None where it holds none of them."""
    if collection is None or not images:
        return None
    with timed("store"):
        held = get_vector_store().fetch(collection.name, [index.entity_id(image.pk) for image in images])
    if not held:
        if retrieval.live(index) != collection:
            raise Replaced
        return None
    import numpy as np

    mean = np.mean([entity.vector for entity in sorted(held, key=lambda entity: entity.id)], axis=0)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length else held[0].vector, np.float32)


def page_of(asked: Understood, found: Found) -> tuple[Result, ...]:
    """The results of this page, which are the only rows that are read, unless an order needs more of them."""
    start = asked.request.offset
    if asked.sort:
        page = sorting.in_order(
            asked.index, asked.sort, retrieval.with_images(asked.index, found.ranked, related=True)
        )
        page = page[start : asked.end]
    else:
        page = retrieval.with_images(asked.index, found.ranked[start : asked.end])
    return tuple(
        Result(
            rank=rank,
            score=hit.score,
            product=asked.index.get_product(image),
            image=image,
            rule=found.placed.get(hit.id, ""),
        )
        for rank, (hit, image) in enumerate(page, start=start + 1)
    )
