"""What differs between the shop's images and what the outbox says the vector store holds of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import router
from django.db.models import QuerySet

from shopsearch import indexing, outbox
from shopsearch.backends import collection_of
from shopsearch.models import IndexEntry
from shopsearch.registry import ImageIndex

Reason = Literal["new", "unfinished", "other collection", "other picture", "other fields", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    image_id: str
    reason: Reason


def rows_of(index: ImageIndex) -> QuerySet[IndexEntry]:
    """The index's rows of the outbox."""
    return IndexEntry.objects.using(router.db_for_write(index.model)).filter(index=index.name)


def changes(index: ImageIndex) -> Iterator[Change]:
    """Each image that indexing would do something about; reads every file, embeds nothing, in constant memory."""
    collection = collection_of(index)
    for keys in outbox.keys(index.get_queryset()):
        entries = {
            entry.image_id: entry for entry in rows_of(index).filter(image_id__in=[str(key) for key in keys])
        }
        for image in index.get_queryset().filter(pk__in=keys):
            if reason := _reason(index, image, entries.get(str(image.pk)), collection):
                yield Change(image_id=str(image.pk), reason=reason)
    yield from gone(index)


def gone(index: ImageIndex) -> Iterator[Change]:
    """Each row whose image the index does not show any more."""
    for keys in outbox.keys(rows_of(index)):
        image_ids = set(rows_of(index).filter(pk__in=keys).values_list("image_id", flat=True))
        shown = index.get_queryset().filter(pk__in=list(_keys(index, image_ids))).values_list("pk", flat=True)
        for image_id in sorted(image_ids - {str(key) for key in shown}):
            yield Change(image_id=image_id, reason="gone")


def _keys(index: ImageIndex, image_ids: set[str]) -> Iterator[Any]:
    for image_id in image_ids:
        try:
            yield index.model._meta.pk.to_python(image_id)
        except ValidationError:
            continue


def _reason(index: ImageIndex, image: Any, entry: IndexEntry | None, collection: str) -> Reason | None:
    if not getattr(image, index.image_field) or _product_id(index, image) is None:
        return None if entry is None else "gone"  # there is nothing to show
    if entry is None:
        return "new"
    if entry.state != IndexEntry.State.INDEXED:
        return "unfinished"
    if entry.collection != collection:
        return "other collection"
    try:
        if entry.image_hash != indexing.hash_of_file(indexing.read_file(index, image)):
            return "other picture"
        fields = index.get_filter_values(image)
    except Exception:
        # A storage or a project's own code raises what it likes; the worker finds out, and says so in the row.
        return "other picture"
    known = entry.fields_hash == indexing.hash_of_fields(str(_product_id(index, image)), fields)
    return None if known else "other fields"


def _product_id(index: ImageIndex, image: Any) -> object:
    try:
        return getattr(index.get_product(image), "pk", None)
    except ObjectDoesNotExist:
        return None
