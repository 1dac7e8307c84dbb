"""Judgements: people's grades for how well products answer queries, beside what search finds now."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import router, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from shopsearch.conf import settings
from shopsearch.evaluation.query_files import JudgedQuery
from shopsearch.exceptions import BackendError, QueryError
from shopsearch.images import decode
from shopsearch.models import EvaluationQuery, Judgement
from shopsearch.registry import ImageIndex, find_index
from shopsearch.registry.keys import keys_from
from shopsearch.search.engine import answer
from shopsearch.search.examples import of_picture
from shopsearch.search.request import SearchRequest
from shopsearch.types import Result

logger = logging.getLogger(__name__)
MAX_TITLES = 200
TITLES_AT_ONCE = 200
PICTURES_AT_ONCE = 10
"""How many queries are in memory together; each may have a picture of MAX_IMAGE_BYTES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledProduct:
    """A product to judge for a query, or judged already."""

    id: str
    grade: int | None = None
    rank: int | None = None
    """Its rank in the results now; None where it is not among them."""
    description: Mapping[str, Any] = field(default_factory=dict)
    """What the index's ``describe`` returns; empty where the shop no longer has the product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The products to judge for a query."""

    found: tuple[PooledProduct, ...] = ()
    """What search finds now."""
    others: tuple[PooledProduct, ...] = ()
    """Products that were judged before, and that search does not find now."""
    has_next: bool = False
    error: str = ""
    """Why search finds nothing now, as a sentence."""


def title_queries(index: ImageIndex, limit: int = MAX_TITLES) -> Iterator[JudgedQuery]:
    """Queries that need no judging: the texts of products, each answered by every product that has this text.

    The same products always give the same queries, at most ``limit``.
    """
    called: dict[str, dict[str, int]] = {}
    for image in index.get_queryset().order_by("pk").iterator(chunk_size=TITLES_AT_ONCE):
        product = index.product_of(image)
        if product is not None and (text := index.text_of(product).strip()):
            called.setdefault(text, {})[str(product.pk)] = 1
    chosen = sorted(called, key=lambda text: hashlib.sha256(text.encode()).digest())[:limit]
    for number, text in enumerate(chosen, start=1):
        yield JudgedQuery(id=str(number), text=text, kind="title", relevant=called[text])


def judged_queries(index: ImageIndex) -> Iterator[JudgedQuery]:
    """The index's queries that have judgements, oldest first, with a few in memory at a time."""
    queries = EvaluationQuery.objects.judged().filter(index=index.name).prefetch_related("judgements")
    for query in queries.order_by("pk").iterator(chunk_size=PICTURES_AT_ONCE):
        yield JudgedQuery(
            id=str(query.pk),
            text=query.text,
            image=_picture(query),
            language=query.language,
            relevant={judgement.product_id: judgement.grade for judgement in query.judgements.all()},
        )


def unjudged_queries() -> QuerySet[EvaluationQuery]:
    """Queries without judgements, the most asked first. Their pictures are not loaded."""
    return EvaluationQuery.objects.unjudged().defer("picture").order_by("-times_asked", "pk")


def next_query(after: EvaluationQuery) -> EvaluationQuery | None:
    """The query to judge after this one; the first again after the last. None when all are judged."""
    unjudged = unjudged_queries().exclude(pk=after.pk)
    less_asked = Q(times_asked__lt=after.times_asked) | Q(times_asked=after.times_asked, pk__gt=after.pk)
    return unjudged.filter(less_asked).first() or unjudged.first()


def judge(query: EvaluationQuery, grades: Mapping[str, int | None], *, by: Any) -> None:
    """Record this user's grades by product id. None deletes a judgement; other products keep theirs."""
    with transaction.atomic(using=router.db_for_write(Judgement)):
        taken_back = [product_id for product_id, grade in grades.items() if grade is None]
        query.judgements.filter(product_id__in=taken_back).delete()
        for product_id, grade in grades.items():
            if grade is not None:
                values = {"grade": grade, "judged_by": by, "judged_at": Now()}
                query.judgements.update_or_create(product_id=product_id, defaults=values)


def pool(query: EvaluationQuery, limit: int) -> Pool:
    """The first ``limit`` results now, with their grades, and every other product that was judged for the query.

    Does not raise while a backend is away or if the query cannot be answered: ``error`` says so, and the judged
    products are there.
    """
    grades = dict(query.judgements.values_list("product_id", "grade"))
    index = find_index(query.index)
    found: list[PooledProduct] = []
    has_next, error = False, ""
    if index is None:
        error = _("This shop no longer has an index %(name)s.") % {"name": query.index}
    else:
        try:
            picture = _picture(query)
            image = decode(picture) if picture is not None else None
            most = min(limit, settings.MAX_PAGE_SIZE)
            asked = SearchRequest(
                text=query.text, examples=of_picture(image), index=index.name, limit=most, rules=()
            )
            answered = answer(asked)
            found = [_found(index, result, grades) for result in answered.results]
            has_next = answered.has_next and limit < settings.MAX_PAGE_SIZE
        except BackendError as away:
            logger.warning("Search is unavailable: %s", away, exc_info=away)
            error = _(
                "Search is away for the moment; try again shortly. Products that were judged before are below."
            )
        except QueryError as refused:
            error = str(refused)
    shown = {product.id for product in found}
    judged = [product_id for product_id in grades if product_id not in shown]
    descriptions = _descriptions(index, judged) if index is not None and judged else {}
    others = (
        PooledProduct(id=each, grade=grades[each], description=descriptions.get(each, {})) for each in judged
    )
    return Pool(found=tuple(found), others=tuple(others), has_next=has_next, error=error)


def _picture(query: EvaluationQuery) -> bytes | None:
    return bytes(query.picture) if query.picture else None  # PostgreSQL's driver gives a memoryview


def _found(index: ImageIndex, result: Result, grades: Mapping[str, int]) -> PooledProduct:
    product_id = str(result.product.pk)
    description = index.described(result.product, result.image)
    return PooledProduct(
        id=product_id, grade=grades.get(product_id), rank=result.rank, description=description
    )


def _descriptions(index: ImageIndex, product_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """By id, the descriptions of the products that the shop still has, whether it shows them or not."""
    descriptions: dict[str, Mapping[str, Any]] = {}
    for image in index.images_of(product_ids, index.model._default_manager.all()):
        product = index.product_of(image)
        if product is not None and str(product.pk) not in descriptions:
            descriptions[str(product.pk)] = index.described(product, image)
    if index.finds_pictureless:
        others = keys_from(index.product_model, set(product_ids) - descriptions.keys())
        for product in index.product_model._base_manager.filter(pk__in=others):
            descriptions[str(product.pk)] = index.described(product, None)
    return descriptions
