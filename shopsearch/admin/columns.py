"""Admin columns that show an image and its index entry, and how images are marked to be reindexed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from shopsearch import broker, registry
from shopsearch.models import Change, Collection, IndexEntry, Rerank
from shopsearch.registry import ImageIndex, index_for

STYLE = "shopsearch/admin.css"


def find_entries(images: Iterable[Any]) -> None:
    """Set ``index_entry`` on each image: its index entry, or None. Makes two queries for all of them."""
    images = list(images)
    entries: dict[str, IndexEntry] = {}
    if images and (index := _index_of(type(images[0]))):
        keys = [str(image.pk) for image in images]
        rows = IndexEntry.objects.of(index).filter(image_id__in=keys)
        entries = {entry.image_id: entry for entry in rows}
        for image_id in Change.objects.noted_among(index, keys):
            entries.setdefault(image_id, IndexEntry(index=index.name, image_id=image_id))
            show_as_pending(entries[image_id])
    for image in images:
        image.index_entry = entries.get(str(image.pk))


def show_as_pending(entry: IndexEntry) -> None:
    """Show the entry as it will be when its changes are folded. Saves nothing."""
    if entry.state in (IndexEntry.State.INDEXED, IndexEntry.State.FAILED):
        entry.state, entry.error = IndexEntry.State.PENDING, ""


def _index_of(model: type[Model]) -> ImageIndex | None:
    try:
        return index_for(model)
    except ImproperlyConfigured:
        return None


def _entry(image: Any) -> IndexEntry | None:
    if not hasattr(image, "index_entry"):
        find_entries([image])
    return cast("IndexEntry | None", image.index_entry)


def state_label(entry: IndexEntry | Rerank | Collection | None) -> SafeString:
    state, label = (entry.state, entry.get_state_display()) if entry else ("none", _("not indexed"))
    return format_html('<span class="shopsearch-state shopsearch-state-{}">{}</span>', state, label)


class StateColumn:
    """The column of rows that have a state, and an error or ""."""

    @admin.display(description=_("state"), ordering="state")
    def state_and_error(self, row: Any) -> SafeString:
        error = format_html('<div class="shopsearch-error">{}</div>', row.error) if row.error else ""
        return format_html("{}{}", state_label(row), error)


def thumbnail(address: str, alternative_text: object = "") -> SafeString:
    return format_html(
        '<img class="shopsearch-thumbnail" src="{}" alt="{}" width="64" height="64" loading="lazy" decoding="async">',
        address,
        alternative_text,
    )


def link_to(site: admin.AdminSite, model: type[Model], pk: object, shown: str) -> str:
    """A link to the row's page; without one where its model is not in this admin."""
    try:
        address = reverse(f"{site.name}:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])
    except NoReverseMatch:
        return shown
    return format_html('<a href="{}">{}</a>', address, shown)


def breakable(name: str) -> SafeString:
    """A long name that may wrap after any of its underscores."""
    return format_html_join(SafeString("_<wbr>"), "{}", ((part,) for part in name.split("_")))


def ago(moment: datetime) -> SafeString:
    recent = timezone.now() - moment < timedelta(minutes=1)
    shown = _("just now") if recent else _("%(time)s ago") % {"time": timesince(moment, depth=1)}
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), localize(moment), shown
    )


class ReindexPermission:
    """Allows actions with ``permissions=["reindex"]`` for users with the permission "Can reindex images"."""

    def has_reindex_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("shopsearch.reindex")


class ImageColumns:
    """Columns for images of a registered model: the picture, its index state and its error."""

    @property
    def media(self) -> forms.Media:
        return super().media + forms.Media(css={"all": (STYLE,)})  # type: ignore[misc,no-any-return]

    @admin.display(description=_("picture"))
    def thumbnail(self, image: Any) -> str:
        index = _index_of(type(image))
        address = index.picture_url_of(image) if index and image.pk else ""
        return thumbnail(address) if address else "–"

    @admin.display(description=_("search"))
    def index_state(self, image: Any) -> str:
        return state_label(_entry(image)) if image.pk else "–"

    @admin.display(description=_("error"))
    def index_error(self, image: Any) -> str:
        entry = _entry(image) if image.pk else None
        return entry.error if entry else ""


def wake() -> None:
    """Wake the workers once the marked images are committed."""
    for using in registry.databases():
        broker.wake_after_commit(using)


def say_marked(request: HttpRequest, marked: int) -> None:
    text = ngettext("%(count)d image will be reindexed.", "%(count)d images will be reindexed.", marked)
    messages.success(request, text % {"count": marked})
