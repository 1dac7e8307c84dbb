"""Reranking: record that a better order is wanted, and answer it in a worker by its deadline.

The row is everything: a Celery message is a hint that there is one, as with the outbox. A request is answered at most
once, by whoever moves its row from QUEUED to RUNNING, and only while its deadline has not passed; all moments are the
database's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.utils import translation
from django.utils.translation import get_language

from shopsearch import broker, images
from shopsearch.backends import get_reranker
from shopsearch.conf import settings
from shopsearch.exceptions import ImageError, ShopsearchError
from shopsearch.images import decoding
from shopsearch.models import Rerank
from shopsearch.registry import ImageIndex, analyzer, get_index
from shopsearch.registry.relations import with_related
from shopsearch.rerankers.facts import facts_of, joined, sentences
from shopsearch.rerankers.ordering import Order, arrange
from shopsearch.search.reasons import Reason, Shared, reasons_of, shared_of
from shopsearch.search.synonyms import synonyms_of
from shopsearch.telemetry import logs, metrics
from shopsearch.types import Candidate, Fact, Query, RerankerOutput

if TYPE_CHECKING:
    from shopsearch.search.request import SearchAnswer

logger = logging.getLogger(__name__)
State = Rerank.State
PICTURE_SIDE = 768
"""Pictures are shown to a reranker no larger than this."""
MAX_CHARACTERS = 300
"""Of a candidate's words, and of the caption and the reason."""
_LATE = Q(state__in=Rerank.OPEN, deadline_at__lte=Now())


def request(index: ImageIndex, answer: SearchAnswer) -> Rerank | None:
    """A rerank of the answer's leading products, queued, or the one that was made for the same query before.

    None where there is nothing to gain: no reranker, no broker to reach a worker, fewer than two results that have a
    picture and that no rule has placed, not the first page, neither words nor a picture, an exact name match, a weak
    match, or scores so far apart that retrieval is sure (RERANK_GATE); where MAX_OPEN_RERANKS are open; and where the
    database takes no row, being locked or read-only: the search is answered all the same. The workers are woken after
    commit; this never waits for them.
    """
    wanted = _wanted(index, answer) if broker.has_workers() else None
    if wanted is None:
        return None
    try:
        with transaction.atomic(using=Rerank.objects.all().db):
            return _known(wanted.key) or _recorded(wanted)
    except DatabaseError as error:
        logger.warning("No rerank could be requested: %s", error)
        return None


def order_of(index: ImageIndex, answer: SearchAnswer) -> Order | None:
    """The order that a worker would give the answer's leading products, computed here and stored nowhere.

    None where ``request`` would request none. Raises what the reranker raises.
    """
    wanted = _wanted(index, answer)
    return None if wanted is None else _judge(wanted).order


def _wanted(index: ImageIndex, answer: SearchAnswer) -> Rerank | None:
    """The rerank of this answer, not stored yet; None where there is nothing to gain."""
    reranker = get_reranker()
    if (
        reranker is None
        or answer.offset
        or answer.is_named
        or answer.match == "weak"
        or answer.query.is_empty
    ):
        return None
    leading = answer.results[: reranker.most_candidates]
    movable = [result for result in leading if result.image is not None and not result.rule]
    if len(movable) < 2 or movable[0].score - movable[-1].score >= settings.RERANK_GATE:
        return None
    image = answer.query.image
    picture = None if image is None else images.jpeg(image, PICTURE_SIDE, quality=92)
    candidates = [
        {
            "product": _plain(result.product.pk),
            "image": result.image_id,
            "text": index.text_of(result.product)[:MAX_CHARACTERS],
            "score": round(result.score, 6),
            **({"rule": result.rule} if result.rule else {}),
        }
        for result in leading
    ]
    files = [str(getattr(result.image, index.image_field, "")) for result in leading]
    language = get_language() or ""
    asked = [
        index.name,
        language,
        answer.query.text,
        hashlib.sha256(picture or b"").hexdigest(),
        candidates,
        files,
    ]
    judge = [reranker.model, reranker.prompt_version, settings.RERANK_WEIGHT, settings.RERANK_LIFT]
    return Rerank(
        key=hashlib.sha256(json.dumps([asked, judge]).encode()).hexdigest(),
        index=index.name,
        text=answer.query.text,
        language=language,
        picture=picture,
        candidates=candidates,
        model=reranker.model,
        prompt_version=reranker.prompt_version,
        request_id=logs.get_request_id(),
        deadline_at=Now() + timedelta(seconds=settings.RERANK_DEADLINE_SECONDS),
    )


def _known(key: str) -> Rerank | None:
    fresh = Now() - timedelta(seconds=settings.RERANK_CACHE_SECONDS)
    usable = Q(state=State.DONE, finished_at__gte=fresh) | Q(state__in=Rerank.OPEN, deadline_at__gt=Now())
    return Rerank.objects.filter(usable, key=key).first()


def _recorded(wanted: Rerank) -> Rerank | None:
    if Rerank.objects.in_time().count() >= settings.MAX_OPEN_RERANKS:
        metrics.count_shed("rerank")
        return None
    wanted.save(force_insert=True)
    logger.info("Rerank %s is requested.", wanted.pk)
    broker.wake_after_commit(Rerank.objects.all().db, broker.wake_rerankers)
    return wanted


def current(rerank_id: uuid.UUID) -> Rerank | None:
    """The rerank as it is now, in a final state if its deadline has passed; None where there is no such one."""
    rows = Rerank.objects.filter(pk=rerank_id).defer("picture", "raw")
    found: Any = rows.annotate(is_late=ExpressionWrapper(_LATE, BooleanField())).first()
    if found is None or not found.is_late:
        return found  # type: ignore[no-any-return]
    expire()
    return rows.first()


def expire() -> int:
    """Every open rerank whose deadline has passed ends, and its picture goes. Returns how many."""
    expired = Rerank.objects.overdue().update(state=State.EXPIRED, picture=None, finished_at=Now())
    metrics.count_reranks(State.EXPIRED, expired)
    return expired


def purge(*, everything: bool = False) -> int:
    """Receipts older than RERANK_KEEP_DAYS go, or all of them, but never those under way. Returns how many."""
    ended = Rerank.objects.ended()
    if not everything:
        ended = ended.filter(created_at__lt=Now() - timedelta(days=settings.RERANK_KEEP_DAYS))
    return ended.delete()[0]


def has_queued() -> bool:
    """Whether a rerank waits for a worker."""
    return Rerank.objects.waiting().exists()


def answer_next() -> bool:
    """Answer the rerank that has waited longest; whether there was one. Raises only what the database raises."""
    rerank = _claim()
    if rerank is None:
        return False
    with logs.request_id(rerank.request_id):
        _answer(rerank)
    return True


def _answer(rerank: Rerank) -> None:
    try:
        judged = _judge(rerank)
    except Exception as error:
        if not isinstance(error, ShopsearchError):
            logger.exception("The reranker raised; the results keep their order.")
        _finish(rerank, state=State.FAILED, error=_clean(f"{type(error).__name__}: {error}"))
        return
    _finish(
        rerank,
        state=State.DONE,
        order=[rerank.candidates[place]["product"] for place in judged.order.positions],
        caption=_clean(judged.output.caption)[:MAX_CHARACTERS],
        reason=_clean(judged.output.reason)[:MAX_CHARACTERS],
        reasons=[asdict(reason) for reason in judged.reasons],
        shared={key: [asdict(each) for each in own] for key, own in judged.shared.items()},
        raw=_clean(judged.output.raw),
        repairs=dict(judged.order.repairs),
    )


def _clean(text: object) -> str:
    """The text as any database takes it: a model may write what is none."""
    return str(text).replace("\0", "").encode("utf-8", "replace").decode()


def _claim() -> Rerank | None:
    while (pk := Rerank.objects.waiting().values_list("pk", flat=True).first()) is not None:
        if Rerank.objects.filter(pk=pk, state=State.QUEUED).update(state=State.RUNNING, started_at=Now()):
            return Rerank.objects.get(pk=pk)
    return None


def _finish(rerank: Rerank, **values: Any) -> None:
    """Settle the row, unless its time is over: then it has expired, whatever came of it."""
    running = Rerank.objects.filter(pk=rerank.pk, state=State.RUNNING, deadline_at__gt=Now())
    if not running.update(picture=None, finished_at=Now(), **values):
        expire()
        return
    metrics.count_reranks(values["state"], repairs=values.get("repairs"))
    logger.info("Rerank %s is %s.", rerank.pk, values["state"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What the reranker says, and what follows from it."""

    output: RerankerOutput
    order: Order
    """A permutation of all candidates."""
    reasons: Sequence[Reason] = ()
    """Why the first one is the first."""
    shared: Mapping[str, Sequence[Shared]] = field(default_factory=dict)
    """By product's key what each shares with the search, where the reranker knows it."""


def _judge(rerank: Rerank) -> _Judged:
    reranker = get_reranker()
    if reranker is None:
        order = Order(positions=tuple(range(len(rerank.candidates))), repairs={})
        return _Judged(output=RerankerOutput(), order=order)
    # A copy of our own, whatever formats are accepted from strangers.
    image = decoding.decode_here(bytes(rerank.picture), ["JPEG"]) if rerank.picture else None
    query = Query(text=rerank.text, image=image)
    index = get_index(rerank.index)
    rows = _rows(index, rerank.candidates)
    # What a rule has placed, and what has no picture to look at, keeps its place.
    placed = [place for place, each in enumerate(rerank.candidates) if each.get("rule") or not each["image"]]
    movable = {place: row for place, row in rows.items() if place not in placed}
    seen = _candidates(index, rerank.candidates, movable)
    places = sorted(seen)
    candidates = [seen[place] for place in places]
    with translation.override(rerank.language or None):
        output = reranker.rerank(query, candidates)
    order = arrange(
        output,
        [seen[place].score for place in places],
        weight=settings.RERANK_WEIGHT,
        lift=settings.RERANK_LIFT,
        words=_word_shares(index, query, rerank.language, [rows[place] for place in places]),
    )
    unseen = [place for place in range(len(rerank.candidates)) if place not in seen and place not in placed]
    repairs = {**order.repairs, "unseen": len(unseen)} if unseen else order.repairs
    positions = [*(places[place] for place in order.positions), *unseen]
    for place in placed:  # in rising order, so each comes to stand at its own place
        positions.insert(place, place)
    order = Order(positions=tuple(positions), repairs=repairs)
    if not positions or positions[0] not in seen:
        return _Judged(output=replace(output, reason=""), order=order)
    leader = places.index(positions[0])
    facts: dict[str, Sequence[Fact]] = {}
    stated = _stated(output.facts)
    if len(stated) == len(places):
        keys = (str(rerank.candidates[place]["product"]) for place in places)
        facts = dict(zip(keys, stated, strict=True))
        first = stated[leader]
    else:
        [first] = facts_of(query, [candidates[leader]])
    with translation.override(rerank.language or None):
        if output.reason and positions[0] != places[_favourite(output, len(places))]:
            # It speaks for the model's own favourite, which is not the one that stands first.
            output = replace(output, reason=joined(sentences(first)))
        leading = [rows[place] for place in positions if place in seen]
        found, shared = _reasons(index, query, first, leading, facts)
    return _Judged(output=output, order=order, reasons=found, shared=shared)


def _stated(facts: Sequence[Sequence[Fact]]) -> list[list[Fact]]:
    """What the reranker says that each candidate shares with the query, as any database keeps it.

    None where it says what are no facts: the order is good without them.
    """
    try:
        return [[Fact(kind=each.kind, value=_clean(each.value)) for each in own] for own in facts]
    except (TypeError, AttributeError):
        logger.exception("The reranker's facts cannot be read.")
        return []


def _reasons(
    index: ImageIndex,
    query: Query,
    first: Sequence[Fact],
    rows: Sequence[Any],
    facts: Mapping[str, Sequence[Fact]],
) -> tuple[list[Reason], dict[str, list[Shared]]]:
    """The reasons, and what each product shares with the search.

    None where the shop's own code or a fact is at fault: the order is good without them.
    """
    try:
        return reasons_of(index, query, first, rows), {key: shared_of(own) for key, own in facts.items()}
    except Exception:
        logger.exception("%s: a better order has no reasons.", index.name)
        return [], {}


def _favourite(output: RerankerOutput, count: int) -> int:
    """The candidate that the model alone would put first."""
    return arrange(output, [0.0] * count, weight=1, lift=count).positions[0]


def _word_shares(index: ImageIndex, query: Query, language: str, rows: Sequence[Any]) -> list[float]:
    """The share of the query's words that the product of each row has; empty where words do not bind the order.

    Beside a picture they do not: they say what should be different from it, and the picture says the rest.
    """
    if not index.words_field or query.kind != "text":
        return []
    language = index.query_language(language)
    terms = analyzer.query_terms(query.text, language, synonyms=synonyms_of(language))
    return [terms.compared(index.known_terms_of(index.get_product(row))).share for row in rows]


def _rows(index: ImageIndex, recorded: Sequence[dict[str, Any]]) -> dict[int, Any]:
    """The image of each candidate that the shop still shows, by the candidate's place."""
    images = index.get_queryset().filter(pk__in=[each["image"] for each in recorded if each["image"]])
    known = {str(row.pk): row for row in with_related(index, images) if index.product_of(row) is not None}
    return {place: known[each["image"]] for place, each in enumerate(recorded) if each["image"] in known}


def _candidates(
    index: ImageIndex, recorded: Sequence[dict[str, Any]], rows: Mapping[int, Any]
) -> dict[int, Candidate]:
    """The candidates that can still be looked at, by their place: not those gone, hidden or broken meanwhile."""
    seen = {}
    for place, row in rows.items():
        each = recorded[place]
        try:
            with index.open_image(row) as file:
                picture = images.decode(file)
        except (ImageError, OSError, ValueError):
            continue
        picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        seen[place] = Candidate(
            product_id=str(each["product"]), image=picture, text=each["text"], score=each["score"]
        )
    return seen


def _plain(key: object) -> int | str:
    """A product's key as JSON has it in the search's answer too."""
    return key if isinstance(key, int) else str(key)
