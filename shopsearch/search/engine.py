"""Answer a search request: one line of steps, whoever asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from shopsearch.indexing.rule_pictures import look_of
from shopsearch.indexing.vocabulary import has_words
from shopsearch.models import Collection
from shopsearch.registry import ImageIndex, find_index, get_index, get_indexes
from shopsearch.registry.keys import keys_from
from shopsearch.search import calibration, examples, reranking, retrieval, rules, sorting
from shopsearch.search.diversity import LEADING, diversified
from shopsearch.search.examples import Example, KnownExample
from shopsearch.search.facets import Facet, Number, facet_names, facets, facets_of
from shopsearch.search.request import SearchAnswer, SearchRequest
from shopsearch.search.result_set import ResultSet, result_set
from shopsearch.search.retrieval import Found, HitLists, Replaced
from shopsearch.search.spelling import spelling_of
from shopsearch.search.synonyms import synonyms_of
from shopsearch.search.understanding import UnderstoodText, understand
from shopsearch.telemetry.metrics import timed
from shopsearch.types import Query, Result

if TYPE_CHECKING:
    from shopsearch.types import Vector

MAX_IMAGES = 64
"""Of a product with more images, the first ones say what it looks like."""
NOTHING = Found()


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
        examples=examples.of_picture(image),
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
        examples=(Example(product=product.pk),),
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
    examples: Sequence[KnownExample]
    lead: KnownExample | None
    """The example whose picture the query has, and embeds together with the words."""
    condition: Filter | None
    sort: str
    """"" for relevance."""
    limit: int
    facets: Sequence[str] | None

    @property
    def end(self) -> int:
        return self.request.offset + self.limit

    @property
    def others(self) -> list[KnownExample]:
        """The examples that count by vectors of their own."""
        return [each for each in self.examples if each is not self.lead]

    @property
    def is_steered(self) -> bool:
        """Whether the query alone does not say what is asked."""
        return bool(self.others) and (bool(self.query.text or self.lead) or len(self.others) > 1)


@timed("total")
def answer(request: SearchRequest) -> SearchAnswer:
    """Understand -> embed -> retrieve, fuse, group -> apply rules -> sort -> page -> facets -> rerank.

    Raises what ``search`` raises, and ImageError for a picture that cannot be used.
    """
    asked = understood(request)
    retrieved = retrieve(asked)
    found, weak_below, fired = retrieved.found, retrieved.weak_below, retrieved.fired
    counts, number = counted(asked, retrieved.among)
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
        # What examples beside the query do to its scores was not measured.
        match="unknown" if asked.is_steered else calibration.match_of(found.best, weak_below),
        retrieval=found.retrieval,
        is_named=found.is_named,
        examples=asked.examples,
        is_steered=asked.is_steered,
        facets=counts,
        number=number,
        rules=fired,
        banner=rules.banner_of(fired),
        redirect=rules.redirect_of(fired),
    )
    if request.wants_rerank and not asked.sort and not asked.is_steered:
        return replace(answered, rerank=reranking.request(asked.index, answered))
    return answered


def counted(asked: Understood, among: ResultSet | None) -> tuple[list[Facet] | None, Number | None]:
    """The facets that are asked for, of the result set or else of the whole shop, and the result set's size."""
    if asked.facets is None:
        return None, None
    if among is None:
        pictureless = asked.index.finds_pictureless and asked.query.kind == "text"
        return facets(asked.index, asked.condition, asked.facets, pictureless=pictureless), None
    return facets_of(among, asked.index, asked.condition, asked.facets)


def understood(request: SearchRequest) -> Understood:
    """Raises QueryError, FilterError and ImageError with what the caller can correct."""
    index = index_named(request.index)
    limit = _page_size(request)
    condition = parse(request.filters, index.filter_types)
    sort = sorting.checked_sort(index, request.sort)
    counted = None if request.facets is None else facet_names(index, request.facets)
    known = list(_known(index, request.examples))
    query, lead = _query(index, request, known)
    words = _words(index, request, query)
    return Understood(
        request=request,
        index=index,
        query=replace(query, text=words.text),
        words=words,
        examples=known,
        lead=lead,
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


def check_text(text: str) -> None:
    """Raise QueryError if the text is longer than a query may be."""
    if len(text) > settings.MAX_QUERY_CHARACTERS:
        raise QueryError(
            _("The text is too long; use at most %(most)s characters.")
            % {"most": settings.MAX_QUERY_CHARACTERS}
        )


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


def _known(index: ImageIndex, asked: Sequence[Example]) -> Iterable[KnownExample]:
    """The examples, without those that the shop does not show any more. Raises QueryError and ImageError."""
    examples.check(asked)
    shown = _shown_images(index, asked)
    for each in asked:
        if each.image is not None:
            yield KnownExample(weight=each.weight, picture=each.picture())
            continue
        if each.product is not None:
            keys = keys_from(index.product_model, [each.product])
            images = [image for image in shown if _is_of(index, image, keys)][:MAX_IMAGES]
        else:
            keys = keys_from(index.model, [each.image_id])
            images = [image for image in shown if image.pk in keys]
        product = index.product_of(images[0]) if images else None
        if product is not None:
            yield KnownExample(
                weight=each.weight, images=images, product=product, can_be_embedded=each.image_id is not None
            )


def _shown_images(index: ImageIndex, asked: Sequence[Example]) -> Sequence[Any]:
    """The images of all examples that the shop shows, read at once where no product has too many."""
    products = [each.product for each in asked if each.product is not None]
    keys = keys_from(index.model, [each.image_id for each in asked if each.image_id is not None])
    if not products and not keys:
        return ()
    shown = index.get_queryset()
    if not products:
        return list(shown.filter(pk__in=keys))
    images = index.images_of(products, shown)
    if keys:
        images = (images | shown.filter(pk__in=keys)).order_by("pk")
    most = MAX_IMAGES * len(products) + len(keys)
    found = list(images[: most + 1])
    if len(found) <= most:
        return found
    parts = [index.images_of([each], shown)[:MAX_IMAGES] for each in products]
    return list({image.pk: image for part in (*parts, shown.filter(pk__in=keys)) for image in part}.values())


def _is_of(index: ImageIndex, image: Any, keys: Sequence[object]) -> bool:
    """Whether the image is of one of these products, or of a variant of one."""
    own = getattr(image, index.product_field) if index.product_field else image
    product = index.product_of(image)
    return any(each is not None and each.pk in keys for each in (own, product))


def _query(
    index: ImageIndex, request: SearchRequest, known: Sequence[KnownExample]
) -> tuple[Query, KnownExample | None]:
    """The words without extra spaces and the picture of the leading example; both empty where stored vectors do.

    An image of the shop is opened where its stored vector is not enough: for words beside it, and for a reranker.
    """
    check_text(request.text)
    text = " ".join(request.text.split())
    wanted = [each for each in known if each.is_wanted]
    lead = next((each for each in wanted if each.picture), None)
    if lead is not None:
        return Query(text=text, image=lead.picture), lead
    if text and wanted:
        return Query(text=text, image=normalised(_opened(index, wanted[0].images[0]))), wanted[0]
    if text:
        return Query(text=text), None
    if not request.examples:
        raise EmptyQuery
    if not any(each.is_wanted for each in request.examples):
        raise QueryError(_("Say what you look for as well: words, a picture, or a product that it is like."))
    if len(known) == 1 and known[0].can_be_embedded and request.wants_rerank and get_reranker() is not None:
        with suppress(ImageError):
            return Query(image=normalised(_opened(index, known[0].images[0]))), None
    return Query(), None


def _words(index: ImageIndex, request: SearchRequest, query: Query) -> UnderstoodText:
    """What is meant by the words, where the index declares words that products are found by."""
    if not query.text or not index.words_field:
        return UnderstoodText(text=query.text)
    language = index.query_language(request.language)
    synonyms = synonyms_of(language)
    spelling = spelling_of(index, language) if has_words(index) else None
    corrected = None
    if spelling and request.correct and settings.CORRECT_TYPING:
        corrected = partial(spelling.corrected, said=synonyms.said if synonyms else ())
    return understand(
        query.text,
        language=language,
        corrected=corrected,
        synonyms=synonyms,
        rarity=spelling.rarity if spelling and spelling.words else None,
        operators=settings.OPERATORS,
        has_picture=query.image is not None,
    )


def _opened(index: ImageIndex, image: Any) -> Image:
    try:
        with index.open_image(image) as file:
            return decode(file)
    except (OSError, ValueError) as error:
        raise ImageUnreadable(_("The picture of that product cannot be opened. Try another one.")) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """What the vector store and the rules of the house answer."""

    found: Found = NOTHING
    weak_below: float | None = None
    """The score below which a product is a weak match; None where that is not known."""
    among: ResultSet | None = None
    """What the facets count; None where they are not asked for, and where there is no result set."""
    fired: Sequence[rules.Rule] = ()


def retrieve(asked: Understood) -> Retrieved:
    """The best products, after the rules that the search fires.

    The model that embeds the query is the one that made the live collection, even if another one goes live meanwhile.
    """
    index = asked.index
    if not (asked.query.text or any(each.is_wanted for each in asked.examples)):
        return Retrieved()
    own = {each.product.pk for each in asked.examples if each.product is not None}
    wanted = settings.SORTED_RESULTS if asked.sort else asked.end + 1
    is_diversified = settings.DIVERSITY > 0 and not asked.sort
    if is_diversified:
        wanted = max(wanted, LEADING)
    while True:
        collection = retrieval.live(index)
        if collection is not None:
            _check_filters(asked, collection)
        try:
            vector, weak_below = embedded(asked, collection)
            if collection is None or vector is None:
                return Retrieved(weak_below=weak_below)
            target = retrieval.target(
                index, collection, asked.query, vector, asked.condition, asked.words, weak_below=weak_below
            )
            lists = HitLists(target)
            fired = _fired(asked, collection, vector)
            effect = rules.effect_of(fired)
            found, effect, limit = rules.sought(lists, effect, wanted=wanted, without=own)
            if is_diversified:
                found = _diversified(found, collection)
            unfiltered = lists if asked.condition is None else HitLists(replace(target, condition=None))
            among = None
            if asked.facets is not None and found.has_match:
                among = result_set(unfiltered, own)
            if effect.moves:
                found = rules.applied(lists, found, effect, wanted=wanted, limit=limit, without=own)
                among = rules.counted(among, unfiltered, effect, without=own)
            return Retrieved(found=found, weak_below=weak_below, among=among, fired=fired)
        except Replaced:
            continue


def _fired(asked: Understood, collection: Collection, vector: Vector) -> Sequence[rules.Rule]:
    """The rules that the search fires. What is like a product, on that product's own page, is no search."""
    request, query = asked.request, asked.query
    if not query.text and all(each.product is not None for each in request.examples):
        return ()
    known = request.rules
    if known is None:
        known = rules.in_force(asked.index, collection.space)
    if not known:
        return ()
    look = None if query.text else vector
    means_picture = asked.lead is not None and (query.text or not asked.others)
    compare = any(rule.look is not None and rule.threshold is not None for rule in known)
    if compare and means_picture and query.image is not None:
        # Beside words too: these say how the product should differ from the picture. So do excluded ones, which have
        # moved the vector away from the picture's.
        whole = None if asked.words.excluded else look
        look = look_of(query.image, get_query_embedder(collection.space), whole=whole)
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


def _diversified(found: Found, collection: Collection) -> Found:
    with timed("store"):
        held = get_vector_store().fetch(collection.name, [hit.id for hit in found.ranked[:LEADING]])
    ranked = diversified(found.ranked, {each.id: each.vector for each in held}, settings.DIVERSITY)
    keys = dict(zip((hit.id for hit in found.ranked), found.keys, strict=True))
    return replace(found, ranked=ranked, keys=[keys[hit.id] for hit in ranked])


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

    None where the store has no vector of what is wanted.
    """
    index, space = asked.index, collection.space if collection else ""
    weighted: list[tuple[float, Vector | Query]] = []
    if asked.query.text or asked.lead:
        weighted.append((asked.lead.weight if asked.lead else 1.0, asked.query))
    weighted += _of_examples(index, collection, asked.others)
    excluded = asked.words.excluded
    weighted += [(-examples.EXCLUDED_WORDS / len(excluded), Query(text=each)) for each in excluded]
    queries = [each for _weight, each in weighted if isinstance(each, Query)]
    if queries:
        with timed("embed"):
            made = iter(get_query_embedder(space).embed(queries))
    vectors = [(weight, next(made) if isinstance(each, Query) else each) for weight, each in weighted]
    vector = examples.steered(vectors)
    wanted = [each for weight, each in weighted if weight > 0]
    if vector is None or len(wanted) != 1 or not isinstance(wanted[0], Query):
        return vector, None
    return vector, calibration.weak_below(index.name, space, wanted[0].kind, vector)


def _of_examples(
    index: ImageIndex, collection: Collection | None, known: Sequence[KnownExample]
) -> Iterable[tuple[float, Vector | Query]]:
    """Each example's weight, with the vector that the store has of it, or with the picture that is to be embedded."""
    ids = [index.entity_id(image.pk) for each in known for image in each.images]
    held: dict[str, Vector] = {}
    if ids and collection is not None:
        with timed("store"):
            held = {each.id: each.vector for each in get_vector_store().fetch(collection.name, ids)}
        if not held and retrieval.live(index) != collection:
            raise Replaced
    for each in known:
        vectors = [held[key] for image in each.images if (key := index.entity_id(image.pk)) in held]
        if vectors:
            yield each.weight, _mean(vectors)
        elif each.picture is not None:
            yield each.weight, Query(image=each.picture)
        elif each.can_be_embedded:
            yield each.weight, Query(image=normalised(_opened(index, each.images[0])))


def _mean(vectors: Sequence[Vector]) -> Vector:
    import numpy as np

    mean = np.mean(vectors, axis=0)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length else vectors[0], np.float32)


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
            image=image if hit.image_id else None,
            rule=found.placed.get(hit.id, ""),
        )
        for rank, (hit, image) in enumerate(page, start=start + 1)
    )
