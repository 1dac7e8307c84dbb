"""Retrieval: the products for a query, best first, found by its vector and by its words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from shopsearch import models
from shopsearch.backends import get_vector_store
from shopsearch.conf import settings
from shopsearch.filters import Filter
from shopsearch.registry import ImageIndex, analyzer
from shopsearch.registry.keys import keys_from
from shopsearch.registry.relations import with_related
from shopsearch.search import pictureless
from shopsearch.search.understanding import UnderstoodText
from shopsearch.telemetry.metrics import timed
from shopsearch.types import Hit, Query, Retrieval

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from shopsearch.types import Vector

FIRST_HITS = 128
"""How many hits the first call asks for; each further call asks for four times as many. The same for every page: the
order of equal scores, and what an approximate vector index finds, may depend on the number."""

MAX_HITS = 16_384
"""Milvus returns no more in one search."""

FUSED_HITS, MAX_FUSED_HITS, FUSED_PRODUCTS = 100, 1_600, 25
"""How many hits of each order are fused. The same for every page, so that pages are parts of one order. Where they
belong to fewer than FUSED_PRODUCTS products, four times as many are asked for, up to MAX_FUSED_HITS."""

MAX_EXCLUDED = 4_096
"""How many images that have an excluded word are left out."""

ROWS_PER_SELECT = 500

SMOOTHING = 60
"""The k of reciprocal rank fusion: the first of an order gains 1/61, the second 1/62."""

STRICTNESS = 8
"""How fast words lose weight where a product has only some of them: with three of four, 0.10; with half, 0.004."""


class Replaced(Exception):
    """The collection that was live when the search began no longer is, and may be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to search for, and where."""

    index: ImageIndex
    collection: models.Collection
    vector: Vector
    condition: Filter | None = None
    terms: analyzer.QueryTerms | None = None
    """The query's words; None where only vectors are searched."""
    weight: float = 0.0
    """What the words' rank counts beside the vectors' rank, whose weight is 1."""
    finds_pictureless: bool = False
    """Whether products without a picture are found by the words too."""
    excluded: str = ""
    """Terms that a product should not have."""
    weak_below: float | None = None
    """The score below which a vector's match is weak; None where nothing was calibrated, so that nothing is weak."""

    def is_named(self, hit: Hit) -> bool:
        """Whether the query is what the hit's product is called."""
        return self.terms is not None and self.terms.names(hit.words)

    def is_weak(self, hit: Hit) -> bool:
        """Whether the hit is a weak match by its vector."""
        return self.weak_below is not None and hit.score < self.weak_below


class Leading:
    """The first hits of one order. What the store has given is not asked for again."""

    def __init__(self, find: Callable[..., list[Hit]]) -> None:
        """``find`` returns the first so many hits, best first."""
        self._find = find
        self.found: list[Hit] = []
        """What the store has given so far."""
        self._asked = 0

    @property
    def is_whole(self) -> bool:
        """Whether the store has no further hits than those that it gave."""
        return len(self.found) < self._asked

    def first(self, limit: int, *, until: Callable[[Hit], bool] | None = None, **options: Any) -> list[Hit]:
        """So many hits; fewer where the store has no more, or where the last one known is ``until``.

        ``options`` are for ``find``, where the store has to be asked.
        """
        is_enough = self.is_whole or bool(until and self.found and until(self.found[-1]))
        if limit > self._asked and not is_enough:
            self.found, self._asked = self._find(limit, **options), limit
        return self.found[:limit]


class HitLists:
    """What the store finds for a target, by its vector and by its words; page and result set share it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.by_vectors = Leading(lambda limit: nearest(target, limit))
        self.by_words = Leading(
            lambda limit, **options: having_words(
                target, limit, known=[*self.by_vectors.found, *self.by_words.found], **options
            )
        )

    def is_match_by_words(self, hit: Hit) -> bool:
        """Whether the hit was found by words, and its product has most of the query's rare words."""
        terms = self.target.terms
        return terms is not None and bool(hit.words) and terms.mostly_in(hit.words)

    def is_match(self, hit: Hit) -> bool:
        """Whether the hit's product belongs to the result set: no weak match by its vector, or one by its words."""
        return not self.target.is_weak(hit) or self.is_match_by_words(hit)

    def all_by_words(self) -> list[Hit]:
        """The first SHOPSEARCH["MAX_RESULTS"] hits by words.

        Of those after the fused ones only matches by words have their score: the others that are no weak matches by
        their vector are found by it, too.
        """
        terms = self.target.terms
        return self.by_words.first(settings.MAX_RESULTS, score_if=terms.mostly_in) if terms else []

    @cached_property
    def pictureless(self) -> list[Hit]:
        """The products without a picture that have all the words, best first."""
        target = self.target
        if target.terms is None or not target.finds_pictureless:
            return []
        return pictureless.having_words(target.index, target.terms, target.condition)

    @cached_property
    def unwanted(self) -> frozenset[str]:
        """The products that say what the query excludes."""
        excluded = self.target.excluded
        products: set[str] = set()
        if excluded:  # how well they answer the rest does not matter
            found = having_words(self.target, MAX_EXCLUDED, excluded, score_if=lambda _words: False)
            products = {hit.product_id for hit in found}
        if excluded and self.target.index.finds_pictureless:
            products |= pictureless.saying(self.target.index, excluded.split())
        return frozenset(products)

    def wanted(self, hits: Iterable[Hit]) -> list[Hit]:
        """The hits without what the query excludes; what it names is wanted all the same."""
        without = self.unwanted
        return [hit for hit in hits if hit.product_id not in without or self.target.is_named(hit)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best products, each by its best hit."""

    ranked: Sequence[Hit] = ()
    keys: Sequence[Any] = ()
    """The products' primary keys, in the same order."""
    placed: Mapping[str, str] = field(default_factory=dict)
    """By ``Hit.id`` the rule that put the product at its place; those that no rule moved are not in it."""
    best: float | None = None
    """How well the best of all answers, whatever its place: 1 where a product is a match by its words."""
    retrieval: Retrieval = "vectors"
    is_named: bool = False
    """Whether the first product has exactly the asked name."""
    has_match: bool = True
    """False where all products are weak matches."""


def live(index: ImageIndex) -> models.Collection | None:
    """The collection that answers; None where nothing has been indexed yet."""
    rows = models.Collection.objects.using(index.database)
    return next(iter(rows.raw(_live_sql(index.database), [index.name, models.Collection.State.LIVE])), None)


@cache
def _live_sql(database: str) -> str:
    """Every search asks this first, and Django takes five times as long to write the statement as to run it."""
    query = models.Collection.objects.using(database).filter(index="").live().query
    return str(query.get_compiler(database).as_sql()[0])


def target(
    index: ImageIndex,
    collection: models.Collection,
    query: Query,
    vector: Vector,
    condition: Filter | None = None,
    words: UnderstoodText | None = None,
    *,
    weak_below: float | None = None,
) -> Target:
    """The query's vector, and its words where the index, the collection and the vector store have words.

    ``words`` is what was understood of the query's text; the text as it is unless given.
    """
    weight = settings.COMPOSED_WORDS_WEIGHT if query.kind == "composed" else settings.WORDS_WEIGHT
    terms, excluded = None, ""
    words = words or UnderstoodText(text=query.text, language=index.query_language(""))
    if ((query.text and weight) or words.excluded) and finds_by_words(index, collection):
        # Beside a picture, words say what should be different from it: they are no product's name.
        names = [each for each in (words.typed or words.text, words.corrected) if each]
        terms = analyzer.query_terms(
            words.text,
            words.language,
            names=names if query.kind == "text" else (),
            phrases=words.phrases,
            excluded=words.excluded,
            synonyms=words.synonyms,
            rarity=words.rarity,
        )
        excluded = " ".join(terms.excluded)
    return Target(
        index=index,
        collection=collection,
        vector=vector,
        condition=condition,
        terms=terms if terms and terms.text and weight else None,
        finds_pictureless=index.finds_pictureless and query.kind == "text",
        weight=weight,
        excluded=excluded,
        weak_below=weak_below,
    )


def finds_by_words(index: ImageIndex, collection: models.Collection) -> bool:
    """Whether the index declares words that the collection has and the vector store can search."""
    return bool(index.words_field) and not why_vectors_alone(index, collection)


def why_vectors_alone(index: ImageIndex, collection: models.Collection) -> str:
    """Why the words that the index declares find nothing; "" where they do, and where it declares none."""
    if not index.words_field:
        return ""
    if not get_vector_store().full_text:
        return "Words find nothing: the vector store has no full text."
    if collection.fields.get(index.words_field) != "words":
        return "Words find nothing yet; `manage.py shopsearch_reindex --rebuild` changes that."
    return ""


def products(lists: HitLists, *, wanted: int, without: Collection[object] = ()) -> Found:
    """The first ``wanted`` visible products of the result set, best first, except those with the keys ``without``.

    Where all are weak matches, the nearest come, some hundred of them. It is always the beginning of the same order,
    so pages of it neither repeat nor skip a product. Raises Replaced and VectorStoreError.
    """
    target, index = lists.target, lists.target.index
    ranked: dict[object, Hit] = {}
    best: float | None = None
    has_words = all_are_weak = False
    for chunk in _chunks(hits(lists)):
        matching = [hit for hit in chunk if lists.is_match(hit)]
        shown = Shown(index, [*matching, *chunk], without, portion=wanted + len(without))
        if best is None:
            by_score = sorted(chunk, key=lambda hit: hit.score, reverse=True)
            best = next((hit.score for hit in by_score if hit in shown), None)
            has_words = any(lists.is_match_by_words(hit) and hit in shown for hit in chunk)
            all_are_weak = not any(hit in shown for hit in matching)
        for hit in chunk if all_are_weak else matching:
            if hit in shown:
                ranked.setdefault(shown.keys[hit.id], hit)
            if len(ranked) >= wanted:
                break
        if len(ranked) >= wanted:
            break
    leading = list(ranked.values())
    is_named = bool(leading) and target.is_named(leading[0])
    return Found(
        ranked=leading,
        keys=list(ranked),
        best=1.0 if is_named or has_words else best,
        retrieval="hybrid" if target.terms else "vectors",
        is_named=is_named,
        has_match=not all_are_weak,
    )


def _chunks(lists: Iterable[list[Hit]]) -> Iterator[list[Hit]]:
    for found in lists:
        for start in range(0, len(found), ROWS_PER_SELECT):
            yield found[start : start + ROWS_PER_SELECT]


class Shown:
    """Of hits, those whose image or product the shop shows at this moment.

    The database is asked for keys alone, and for as many as somebody looks at: to build rows, or to read the keys of
    some hundred hits for a page that shows 24, would be most of a search's time.
    """

    def __init__(
        self, index: ImageIndex, hits: Iterable[Hit], without: Collection[object] = (), *, portion: int
    ) -> None:
        """``portion`` is for how many products the database is asked first, in the order of ``hits``; each further time
        twice as many. Products with the keys ``without`` count as not shown.
        """
        self.keys: dict[str, object] = {}
        """By ``Hit.id`` the key of the product, None where it is not shown."""
        self._index, self._without, self._portion = index, without, portion
        self._waiting = iter(hits)

    def __contains__(self, hit: Hit) -> bool:
        if hit.id not in self.keys:
            portion, products = {hit.id: hit}, {hit.product_id}
            while len(products) <= self._portion and (following := next(self._waiting, None)):
                if following.id not in self.keys:
                    portion[following.id] = following
                    products.add(following.product_id)
            self._portion *= 2
            with timed("database"):
                found = _product_keys(self._index, list(portion.values()))
            self.keys |= {
                each: None if (key := found.get(each)) in self._without else key for each in portion
            }
        return self.keys[hit.id] is not None


def _product_keys(index: ImageIndex, hits: Sequence[Hit]) -> dict[str, object]:
    """By ``Hit.id`` the key of the product, of images and of products without one that the shop shows."""
    images = _images(index, hits)
    if type(index).get_product is not ImageIndex.get_product:
        pairs = [(image.pk, getattr(index.product_of(image), "pk", None)) for image in images]
    else:
        pairs = list(images.values_list("pk", index.product_key))
    keys = {str(image): product for image, product in pairs if product is not None}
    found = {hit.id: keys[hit.image_id] for hit in hits if hit.image_id in keys}
    if without := {hit.product_id: hit.id for hit in hits if not hit.image_id}:
        products = index.pictureless_products(without).values_list("pk", flat=True)
        found |= {without[str(key)]: key for key in products}
    return found


def with_images(index: ImageIndex, hits: Sequence[Hit], *, related: bool = False) -> list[tuple[Hit, Any]]:
    """Each hit and its image's row, without images that were deleted or hidden a moment ago; a blank one for a product
    without a picture.

    With ``related``, the rows that the declared paths lead to are read as well.
    """
    with timed("database"):
        rows = _images(index, hits)
        images = {str(image.pk): image for image in (with_related(index, rows) if related else rows)}
        without = [hit.product_id for hit in hits if not hit.image_id]
        blank = pictureless.images_of(index, without) if without else {}
    found = ((hit, images.get(hit.image_id) or blank.get(hit.product_id)) for hit in hits)
    return [(hit, image) for hit, image in found if image is not None and index.product_of(image) is not None]


def _images(index: ImageIndex, hits: Sequence[Hit]) -> QuerySet[Any]:
    image_ids = (hit.image_id for hit in hits if hit.image_id)
    images = index.get_queryset().filter(pk__in=keys_from(index.model, image_ids))
    # In no order, unless it decides which rows are distinct: hits have one of their own.
    return images if images.query.distinct_fields else images.order_by()


def hits(lists: HitLists) -> Iterator[list[Hit]]:
    """Every wanted hit once, best first, in growing lists, up to MAX_HITS; always in the same order.

    Where scores are calibrated, the lists after the first have no weak match by words, and the last one ends with the
    first weak matches by vector. Raises Replaced where the collection is no longer the live one, and VectorStoreError.
    """
    for found in _all_hits(lists):
        yield lists.wanted(found)


def _all_hits(lists: HitLists) -> Iterator[list[Hit]]:
    target = lists.target
    seen: set[str] = set()
    if target.terms:
        by_vectors, by_words = _to_fuse(lists.by_vectors), _to_fuse(lists.by_words)
        without = lists.pictureless
        if without:
            # They have every word: by words they come after the images that match, by looks after all.
            by_words.sort(key=lists.is_match_by_words, reverse=True)
            place = sum(map(lists.is_match_by_words, by_words))
            by_words = [*by_words[:place], *without, *by_words[place:]]
        leading = fused([*by_vectors, *without], by_words, asked=target.terms, weight=target.weight)
        seen.update(hit.id for hit in leading)
        yield leading
        if lists.by_vectors.is_whole:
            return
        if target.weak_below is not None and not lists.by_words.is_whole:
            further = lists.all_by_words()
            further = [hit for hit in further if hit.id not in seen and lists.is_match_by_words(hit)]
            seen.update(hit.id for hit in further)
            yield further
        if target.is_weak(by_vectors[-1]):
            return
    limit = FIRST_HITS
    while True:
        found = lists.by_vectors.first(limit)
        yield [hit for hit in found if hit.id not in seen]
        seen.update(hit.id for hit in found)
        if len(found) < limit or limit == MAX_HITS or target.is_weak(found[-1]):
            return
        limit = min(limit * 4, MAX_HITS)


def nearest(target: Target, limit: int) -> list[Hit]:
    """The hits whose vectors are nearest, best first. Raises Replaced and VectorStoreError."""
    with timed("store"):
        found = get_vector_store().search(
            target.collection.name, target.vector, limit=limit, filters=target.condition
        )
    if not found and live(target.index) != target.collection:
        raise Replaced
    return found


def having_words(
    target: Target,
    limit: int,
    text: str = "",
    known: Sequence[Hit] = (),
    score_if: Callable[[str], bool] | None = None,
) -> list[Hit]:
    """The hits that have any word of the text, the query's by default, best first. Raises VectorStoreError.

    ``known`` are hits of the target: their scores are not asked for again. ``score_if`` is that of the vector store.
    """
    with timed("store"):
        return get_vector_store().search_words(
            target.collection.name,
            text or (target.terms.text if target.terms else ""),
            vector=target.vector,
            limit=limit,
            filters=target.condition,
            known=known,
            score_if=score_if,
        )


def _to_fuse(order: Leading) -> list[Hit]:
    """The leading hits, of FUSED_PRODUCTS products if possible."""
    limit = FUSED_HITS
    while True:
        found = order.first(limit)
        is_enough = limit == MAX_FUSED_HITS or len({hit.product_id for hit in found}) >= FUSED_PRODUCTS
        if order.is_whole or is_enough:
            return found
        limit *= 4


def fused(
    by_vectors: Sequence[Hit], by_words: Sequence[Hit], *, asked: analyzer.QueryTerms, weight: float
) -> list[Hit]:
    """Every hit once, the hits of a product together: exact name matches first, then by both ranks.

    Reciprocal rank fusion (Cormack et al., SIGIR 2009), the words' part scaled by how many of the words a product has.
    ``weight`` is what the words' rank counts beside the vectors' rank, whose weight is 1. Deterministic.
    """
    words = {hit.product_id: hit.words for hit in by_words}
    compared = {product: asked.compared(own) for product, own in words.items()}
    gains = _gains(by_vectors)
    for product, gain in _gains(by_words).items():
        scale: float = compared[product].share ** STRICTNESS
        gains[product] = gains.get(product, 0.0) + weight * scale * gain
    found: dict[str, Hit] = {}
    for hit in (*by_words, *by_vectors):
        own, known = words.get(hit.product_id, ""), found.get(hit.id)
        if hit.words == own:
            found[hit.id] = hit
        elif known is None or known.score != hit.score:
            found[hit.id] = replace(hit, words=own)
    grouped: dict[str, list[Hit]] = {}
    for hit in found.values():
        grouped.setdefault(hit.product_id, []).append(hit)
    for group in grouped.values():
        if len(group) > 1:
            group.sort(key=lambda hit: (-hit.score, hit.id))

    silent = asked.compared("")

    def place(product: str) -> tuple[int, float, float, float, str]:
        own = compared.get(product, silent)
        # Of a product that only looks like it and one that only says it, which gain as much, the second is first.
        return own.place, -gains[product], -own.share, -grouped[product][0].score, product

    return [hit for product in sorted(grouped, key=place) for hit in grouped[product]]


def _gains(hits: Sequence[Hit]) -> dict[str, float]:
    """By product, whose rank is that of its best hit."""
    ranks = dict.fromkeys(hit.product_id for hit in hits)
    return {product: 1 / (SMOOTHING + rank) for rank, product in enumerate(ranks, start=1)}
