"""The admin's page "Shop search": whether search works, what is indexed, and what shoppers search for."""

from __future__ import annotations

import datetime
import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from shopsearch import broker, indexing, search
from shopsearch.admin.collections import links_to_orders
from shopsearch.admin.columns import ReindexPermission
from shopsearch.admin.pages import OwnAdmin
from shopsearch.admin.permissions import ReadOnly
from shopsearch.conf import settings
from shopsearch.models import Collection, EvaluationQuery, Fit, IndexEntry, Rerank, SearchDay
from shopsearch.registry import ImageIndex, get_indexes
from shopsearch.search.addresses import address_of
from shopsearch.threads import within

if TYPE_CHECKING:
    from shopsearch.indexing.progress import Filling

PART_SECONDS = 1.0
"""How long to wait for the store and for the broker."""
DAYS, RERANK_DAYS = 30, 7
QUERIES_SHOWN = REASONS_SHOWN = 10
ERRORS_READ = 1_000
"""How many different errors are read to group them."""
RERANKS_READ = 10_000
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|\S*[\d/]\S*")
"""The parts of an error that differ from image to image: names, paths, numbers."""

State = IndexEntry.State
Order = tuple[str, "Promise | str"]
"""A button: its address and its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The state of the store, the broker or the model; ``error`` says what is wrong, and ``remedy`` what to do."""

    name: str
    what: str
    error: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReason:
    """Why images failed, and how many failed for this reason."""

    text: str
    count: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """A day in the plot of searches, in the plot's units: 30 days wide, 100 high."""

    day: datetime.date
    searches: int
    x: int
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPanel:
    """The page's section about one index."""

    index: ImageIndex
    title: str
    live: Collection | None
    indexed: int
    waiting: int
    failed: int
    reasons: Sequence[FailureReason]
    failed_address: str
    building: Collection | None
    filling: Filling | None
    orders: Sequence[Order]
    """For the rebuild."""
    fit: Fit | None
    fit_orders: Sequence[Order]
    is_adapted: bool
    """Whether an adapter answers now."""
    queries: Sequence[EvaluationQuery]
    unanswered: Sequence[EvaluationQuery]
    bars: Sequence[DayBar]
    most: int
    searches: int


class OverviewAdmin(ReadOnly, ReindexPermission, OwnAdmin):
    """A page for staff with the view permission. The pages that it links to check their own permissions."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        counts = indexing.progress.counts()
        problems = search.diagnosis.diagnose_soon(counts)
        parts = parts_of()
        context = {
            "title": _("Shop search"),
            "parts": parts,
            "problems": problems,
            "works": not any(part.error for part in parts)
            and not any(problem.level == "answers" for problem in problems),
            "well": not problems and not any(part.error for part in parts),
            "panels": [self.panel(request, index, counts[index.name]) for index in get_indexes()],
            "reranks": reranks(),
            "rerank_days": RERANK_DAYS,
            "collects": settings.COLLECT_QUERIES,
            "search_address": _or_nothing(address_of, "search"),
            **(extra_context or {}),
        }
        return self.page(request, "admin/shopsearch/overview.html", context)

    def panel(self, request: HttpRequest, index: ImageIndex, states: Mapping[str, int]) -> IndexPanel:
        from shopsearch.embedders.adapted import FITTED

        collections = Collection.objects.of(index)
        building, live, retired = (
            each.first() for each in (collections.unfinished(), collections.live(), collections.retired())
        )
        fit = Fit.objects.of(index).first()
        may_read = request.user.has_perm("shopsearch.view_evaluationquery")
        asked = EvaluationQuery.objects.by_shoppers().filter(index=index.name).defer("picture")
        weak = asked.filter(times_weak__gt=0)
        bars = self.bars(index) if may_read else []
        return IndexPanel(
            index=index,
            title=str(index.model._meta.verbose_name_plural).capitalize(),
            live=live,
            indexed=states[State.INDEXED],
            waiting=sum(states[state] for state in IndexEntry.UNFINISHED),
            failed=states[State.FAILED],
            reasons=self.reasons(index) if states[State.FAILED] else [],
            failed_address=self.entries_address(index),
            building=building,
            filling=indexing.progress.filling(building) if building else None,
            orders=self.orders(request, building, "pause", "resume", "cancel"),
            fit=fit,
            fit_orders=[]
            if fit and fit.is_under_way
            else [*self.orders(request, live, "fit"), *self.orders(request, retired, "roll-back")],
            is_adapted=live is not None and FITTED in live.space,
            queries=list(asked.order_by("-times_asked", "pk")[:QUERIES_SHOWN]) if may_read else [],
            unanswered=list(weak.order_by("-times_weak", "pk")[:QUERIES_SHOWN]) if may_read else [],
            bars=bars,
            most=max((bar.searches for bar in bars), default=0),
            searches=sum(bar.searches for bar in bars),
        )

    def reasons(self, index: ImageIndex) -> list[FailureReason]:
        """The most frequent reasons. Errors that differ only in names, paths or numbers are one reason."""
        rows = IndexEntry.objects.of(index).failed().order_by()
        grouped: Counter[str] = Counter()
        for error, count in (
            rows.values_list("error").annotate(count=Count("pk")).order_by("-count")[:ERRORS_READ]
        ):
            grouped[_PARTICULAR.sub("…", error)[:200]] += count
        return [
            FailureReason(text=text, count=count, address=self.entries_address(index, _longest(text)))
            for text, count in grouped.most_common(REASONS_SHOWN)
        ]

    def entries_address(self, index: ImageIndex, words: str = "") -> str:
        asked = {"state__exact": State.FAILED, "index__exact": index.name} | ({"q": words} if words else {})
        address = _address(f"{self.admin_site.name}:shopsearch_indexentry_changelist")
        return f"{address}?{urlencode(asked)}" if address else ""

    def orders(self, request: HttpRequest, collection: Collection | None, *names: str) -> list[Order]:
        """Those of the orders that are possible now, if the user may give them."""
        if collection is None or not self.has_reindex_permission(request):
            return []
        try:
            links = links_to_orders(self.admin_site.name, collection)
        except NoReverseMatch:  # collections are not in this admin
            return []
        return [links[name] for name in names if name in links]

    def bars(self, index: ImageIndex) -> list[DayBar]:
        today = datetime.date.today()
        days = [today - datetime.timedelta(days=back) for back in reversed(range(DAYS))]
        rows = SearchDay.objects.filter(index=index.name, day__gte=days[0])
        counted = dict(rows.values_list("day", "searches"))
        most = max(counted.values(), default=0) or 1
        return [
            DayBar(day=day, searches=counted.get(day, 0), x=place, height=100 * counted.get(day, 0) / most)
            for place, day in enumerate(days)
        ]


def parts_of() -> list[Service]:
    """The states of the store, the broker and the model. Waits at most PART_SECONDS for each; loads no model."""
    from shopsearch.backends import get_embedder, get_vector_store

    return [
        _asked(
            _("Vector store"),
            settings.VECTOR_STORE["BACKEND"],
            lambda: get_vector_store().collections(),
            _("Searches fail while it is away. Is it running, and is its address right?"),
        ),
        _asked(
            _("Broker"),
            _("wakes the workers"),
            broker.ask,
            _(
                "Searches go on; new pictures wait until the workers next look for work. Is the broker running, "
                "and not full?"
            ),
        ),
        _asked(
            _("Model"),
            settings.EMBEDDER["BACKEND"],
            lambda: get_embedder().space,
            _("`manage.py check` says what is wrong with the settings."),
        ),
    ]


def _asked(name: str, what: str, question: Callable[[], object], remedy: str) -> Service:
    try:
        within(PART_SECONDS, question)
    except Exception as error:  # clients may raise anything; the page must be shown all the same
        return Service(name=name, what=what, error=str(error) or type(error).__name__, remedy=remedy)
    return Service(name=name, what=what)


def reranks() -> dict[str, Any]:
    """For the last RERANK_DAYS: how many reranks ended, the share that succeeded, and their median time."""
    recent = Rerank.objects.ended().filter(created_at__gte=Now() - datetime.timedelta(days=RERANK_DAYS))
    states = dict(recent.order_by().values_list("state").annotate(Count("pk")))
    ended, done = sum(states.values()), states.get(Rerank.State.DONE, 0)
    times = recent.filter(state=Rerank.State.DONE, finished_at__isnull=False).order_by("-created_at")
    seconds = [
        (finished - created).total_seconds()
        for created, finished in times.values_list("created_at", "finished_at")[:RERANKS_READ]
        if finished is not None
    ]
    return {
        "ended": ended,
        "done": done,
        "share": 100 * done / ended if ended else None,
        "seconds": statistics.median(seconds) if seconds else None,
    }


def _longest(text: str) -> str:
    """The longest text that all errors of the group have in common, to search for them."""
    return max((part.strip() for part in text.split("…")), key=len)


def _address(name: str, *arguments: object) -> str:
    return _or_nothing(reverse, name, args=arguments)


def _or_nothing(address: Callable[..., str], *arguments: object, **options: object) -> str:
    try:
        return address(*arguments, **options)
    except NoReverseMatch:  # the shop has no such page
        return ""
