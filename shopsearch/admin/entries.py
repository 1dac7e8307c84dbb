"""The admin of the outbox: its entries, read-only, with actions to reindex them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from shopsearch.admin.columns import (
    ReindexPermission,
    StateColumn,
    ago,
    breakable,
    link_to,
    say_marked,
    show_as_pending,
    wake,
)
from shopsearch.admin.pages import OwnAdmin
from shopsearch.admin.permissions import ReadOnly
from shopsearch.models import Change, IndexEntry, RelatedChange
from shopsearch.registry import find_index, get_indexes


class EntryChangeList(ChangeList):
    """A page of the outbox; an entry with a change that is not folded yet is shown as pending."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        entries = list(self.result_list)
        images: set[tuple[str, str]] = set()
        for index in get_indexes():
            image_ids = [entry.image_id for entry in entries if entry.index == index.name]
            noted = Change.objects.noted_among(index, image_ids, self.queryset.db)
            images |= {(index.name, image_id) for image_id in noted}
        for entry in entries:
            if (entry.index, entry.image_id) in images:
                show_as_pending(entry)
        self.result_list = entries


class IndexEntryAdmin(ReadOnly, ReindexPermission, StateColumn, OwnAdmin):
    """The outbox: read-only, with actions to reindex images and to retry failed ones."""

    list_display = ("image_link", "index_name", "state_and_error", "attempts", "changed", "indexed")
    list_display_links = None
    list_filter = ("state", "index")
    search_fields = ("=image_id", "error")
    ordering = ("-pk",)
    actions = ("reindex_selected", "retry_failed")
    list_per_page = 50
    show_full_result_count = False

    @admin.display(description=_("image"), ordering="image_id")
    def image_link(self, entry: IndexEntry) -> str:
        index = find_index(entry.index)
        if index is None or entry.state == IndexEntry.State.DELETING:
            return entry.image_id
        return link_to(self.admin_site, index.model, entry.image_id, entry.image_id)

    @admin.display(description=_("index"), ordering="index")
    def index_name(self, entry: IndexEntry) -> str:
        return breakable(entry.index)

    @admin.display(description=_("changed"), ordering="changed_at")
    def changed(self, entry: IndexEntry) -> str:
        return ago(entry.changed_at)

    @admin.display(description=_("indexed"), ordering="indexed_at")
    def indexed(self, entry: IndexEntry) -> str:
        return ago(entry.indexed_at) if entry.indexed_at else "–"

    @admin.action(description=_("Reindex selected %(verbose_name_plural)s"), permissions=["reindex"])
    def reindex_selected(self, request: HttpRequest, queryset: QuerySet[IndexEntry]) -> None:
        indexes = {index.name: index for index in get_indexes()}
        chosen: dict[str, list[str]] = defaultdict(list)
        for name, image_id in queryset.values_list("index", "image_id"):
            chosen[name].append(image_id)
        marked = sum(
            Change.objects.note(indexes[name], ids) for name, ids in chosen.items() if name in indexes
        )
        wake()
        say_marked(request, marked)

    @admin.action(description=_("Retry the failed among the selected"), permissions=["reindex"])
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[IndexEntry]) -> None:
        self.reindex_selected(request, queryset.filter(state=IndexEntry.State.FAILED))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EntryChangeList

    def get_urls(self) -> list[URLPattern]:
        everything = self.admin_site.admin_view(self.reindex_everything)
        return [path("reindex/", everything, name="shopsearch_reindex"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        extra = {
            "may_reindex": self.has_reindex_permission(request),
            "changes": sum(
                model.objects.using(self.get_queryset(request).db).count()
                for model in (Change, RelatedChange)
            ),
            **(extra_context or {}),
        }
        return super().changelist_view(request, extra)

    def reindex_everything(self, request: HttpRequest) -> HttpResponse:
        """Ask for confirmation; on POST, mark every image of every index."""
        if not self.has_reindex_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            marked = sum(Change.objects.note_all(index) for index in get_indexes())
            wake()
            say_marked(request, marked)
            back = "shopsearch_indexentry_changelist" if self.has_view_permission(request) else "index"
            return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{back}"))
        context = {
            "title": _("Reindex everything"),
            "indexes": [(index.name, index.get_queryset().count()) for index in get_indexes()],
        }
        return self.page(request, "admin/shopsearch/indexentry/reindex.html", context)
