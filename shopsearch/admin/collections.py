"""The admin of collections: which one is live, how far a new one has got, and buttons to act on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _

from shopsearch import evaluation, indexing
from shopsearch.admin.columns import ReindexPermission, StateColumn, ago, breakable, wake
from shopsearch.admin.pages import OwnAdmin
from shopsearch.admin.permissions import ReadOnly
from shopsearch.exceptions import BackendError
from shopsearch.models import Adapter, Collection
from shopsearch.registry import ImageIndex, find_index

if TYPE_CHECKING:
    from shopsearch.indexing.progress import Filling

State = Collection.State


@dataclass(frozen=True, slots=True)
class CollectionOrder:
    """Something that staff can do with a collection in one of these states."""

    title: Promise | str
    explanation: Promise | str
    states: tuple[str, ...]
    carry_out: Callable[[ImageIndex], object]
    needs: str = ""
    """If set, another collection of the index must be in this state."""
    clashes: tuple[str, ...] = ()
    """No other collection of the index may be in one of these states."""
    is_at_once: bool = True
    """If not, a worker carries it out, and the page "Shop search" shows how far it is."""


ORDERS = {
    "rebuild": CollectionOrder(
        _("Rebuild"),
        _(
            "A new collection is filled beside this one, for the model and the filters that the settings name now. "
            "This one answers until the new one is complete."
        ),
        (State.LIVE,),
        lambda index: indexing.rebuild.begin(index),
        clashes=(State.BUILDING, State.PAUSED),
    ),
    "fit": CollectionOrder(
        _("Fit to this shop"),
        _(
            "A worker learns from the shop's titles what its pictures show. If this helps to find products that it has "
            "not learnt from, a rebuild begins; no picture is embedded again, and it can be rolled back. If not, "
            "nothing changes. Of the earlier collections only the last one is kept."
        ),
        (State.LIVE,),
        lambda index: evaluation.fits.ask(index),
        clashes=(State.BUILDING, State.PAUSED),
        is_at_once=False,
    ),
    "prune": CollectionOrder(
        _("Drop the earlier ones"),
        _("Drops the collections that are kept for a rollback, and any that the database no longer lists."),
        (State.LIVE,),
        lambda index: indexing.rebuild.prune(index),
        needs=State.RETIRED,
    ),
    "pause": CollectionOrder(
        _("Pause"),
        _("Stops filling this collection until it is resumed. Searches and changes go on."),
        (State.BUILDING,),
        lambda index: indexing.rebuild.pause(index),
    ),
    "resume": CollectionOrder(
        _("Resume"),
        _("The workers go on filling this collection."),
        (State.PAUSED,),
        lambda index: indexing.rebuild.resume(index),
    ),
    "cancel": CollectionOrder(
        _("Cancel the rebuild"),
        _("Drops this collection, with what was embedded for it. The live collection is not affected."),
        (State.BUILDING, State.PAUSED),
        lambda index: indexing.rebuild.cancel(index),
    ),
    "roll-back": CollectionOrder(
        _("Roll back"),
        _(
            "Brings this collection up to date with what has changed since. As soon as it is, searches use it again."
        ),
        (State.RETIRED,),
        lambda index: indexing.rebuild.roll_back(index),
        clashes=(State.BUILDING, State.PAUSED),
    ),
}


def links_to_orders(site: str, collection: Collection) -> dict[str, tuple[str, Promise | str]]:
    """The orders that are possible now, by name: the address that asks for confirmation, and the title."""
    if find_index(collection.index) is None:
        return {}
    others = Collection.objects.filter(index=collection.index).exclude(pk=collection.pk)
    states = set(others.values_list("state", flat=True))
    return {
        name: (reverse(f"{site}:shopsearch_collection_order", args=[collection.pk, name]), order.title)
        for name, order in ORDERS.items()
        if collection.state in order.states
        and (not order.needs or order.needs in states)
        and states.isdisjoint(order.clashes)
    }


class CollectionAdmin(ReadOnly, ReindexPermission, StateColumn, OwnAdmin):
    """The collections: which one of an index is live, and how far a new one has got. Read-only, with orders."""

    list_display = ("name_shown", "state_and_error", "orders", "progress", "went_live")
    list_display_links = None
    list_filter = ("index", "state")
    list_per_page = 50
    show_full_result_count = False

    class Media:
        js = ("shopsearch/progress.js",)

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = super().get_list_display(request)
        if self.has_reindex_permission(request):
            return columns
        return [column for column in columns if column != "orders"]

    @admin.display(description=_("collection"), ordering="name")
    def name_shown(self, collection: Collection) -> SafeString:
        """The name, which is long, so it may wrap after any of its underscores."""
        return breakable(collection.name)

    @admin.display(description=_("images"))
    def progress(self, collection: Collection) -> SafeString | str:
        index = find_index(collection.index)
        if index is None or collection.state == State.RETIRED:
            return "–"
        if collection.state == State.LIVE:
            return f"{collection.stored.count():,}"
        filling = indexing.progress.filling(collection)
        return format_html(
            '<progress class="shopsearch-progress" max="{}" value="{}" aria-label="{}"></progress>'
            '<div class="shopsearch-quiet">{}</div>',
            max(1, filling.total),
            filling.done,
            _("images done"),
            _describe(filling),
        )

    @admin.display(description=_("live since"), ordering="live_at")
    def went_live(self, collection: Collection) -> SafeString | str:
        if collection.state == State.LIVE:
            return ago(collection.live_at or collection.created_at)
        if collection.state == State.RETIRED:
            return format_html("{} {}", _("earlier:"), ago(collection.live_at or collection.created_at))
        return "–"

    @admin.display(description=_("orders"))
    def orders(self, collection: Collection) -> SafeString | str:
        """Links to the orders that are possible now."""
        links = links_to_orders(self.admin_site.name, collection).values()
        if not links:
            return "–"
        return format_html(
            '<div class="shopsearch-orders">{}</div>', format_html_join("", '<a href="{}">{}</a>', links)
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.order_view)
        own = path("<int:pk>/orders/<slug:name>/", view, name=self.url_name("order"))
        return [own, *super().get_urls()]

    def order_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        """Ask for confirmation; on POST, carry out the order."""
        if not self.has_reindex_permission(request):
            raise PermissionDenied
        order, collection = ORDERS.get(name), self.get_queryset(request).filter(pk=pk).first()
        index = find_index(collection.index) if collection is not None else None
        if order is None or collection is None or index is None:
            raise Http404
        if request.method == "POST":
            self._carry_out(request, order, collection, index)
            page = "collection" if order.is_at_once else "overview"
            may_view = request.user.has_perm(f"shopsearch.view_{page}")
            back = f"shopsearch_{page}_changelist" if may_view else "index"
            return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{back}"))
        context = {
            "title": order.title,
            "explanation": order.explanation,
            "collection": collection,
            "live_since": ago(collection.live_at or collection.created_at)
            if collection.state in (State.LIVE, State.RETIRED)
            else "",
            "created": ago(collection.created_at),
        }
        return self.page(request, "admin/shopsearch/collection/order.html", context)

    def _carry_out(
        self, request: HttpRequest, order: CollectionOrder, collection: Collection, index: ImageIndex
    ) -> None:
        if collection.state not in order.states:
            messages.error(request, _("The collection's state has changed since; nothing was done."))
            return
        try:
            order.carry_out(index)
        except (indexing.rebuild.Refused, BackendError) as error:
            messages.error(request, str(error))
            return
        wake()
        text = (
            _("%(order)s: begun or done.") if order.is_at_once else _("%(order)s: a worker has been asked.")
        )
        messages.success(request, text % {"order": order.title})


class AdapterAdmin(ReadOnly, OwnAdmin):
    """The adapters that were fitted to the shop's titles, with what they gain. Read-only."""

    list_display = ("space_shown", "index", "is_chosen", "products", "gained", "created_at")
    list_display_links = None
    list_filter = ("index",)

    @admin.display(description=_("space"), ordering="space")
    def space_shown(self, adapter: Adapter) -> SafeString:
        return breakable(adapter.space)

    @admin.display(description=_("gained, on held-out products"))
    def gained(self, adapter: Adapter) -> str:
        return ", ".join(f"{name} {each['gained']:+.3f}" for name, each in adapter.figures.items())


def _describe(filling: Filling) -> str:
    """“1,200 of 20,000”, with the rate and the time left where they are known."""
    text = _("%(done)s of %(total)s") % {"done": f"{filling.done:,}", "total": f"{filling.total:,}"}
    if filling.ends_at is None:
        return text
    more = _("%(rate)s a second, about %(time)s left") % {
        "rate": f"{filling.rate:,.1f}",
        "time": timesince(timezone.now(), filling.ends_at, depth=1),
    }
    return f"{text}, {more}"
