"""The outbox: changes that the shop makes, and the index state of every image.

The shop only inserts changes, so its transactions never wait for one another here. A change names an image, or a
related row whose images the workers look for. Workers fold changes into index entries: see
``shopsearch.indexing.outbox``.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

from django.core.exceptions import FieldError, ValidationError
from django.db import DatabaseError, connections, models, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.db.models.sql import InsertQuery
from django.utils.translation import gettext_lazy as _

from shopsearch import broker, registry
from shopsearch.models.indexed import IndexedQuerySet
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import chunks_of, keys_from, keys_of
from shopsearch.registry.relations import images_at, products_at

if TYPE_CHECKING:
    from shopsearch.models.collections import Collection

logger = logging.getLogger(__name__)
PAUSE_SECONDS = 300
"""Changes that were noted while paused are due after this time anyway, because the process may have been killed."""


class IndexEntryQuerySet(IndexedQuerySet["IndexEntry"]):
    """Entries by what workers still have to do."""

    def unfinished(self) -> Self:
        """The entries that a worker is working on or has to work on."""
        return self.filter(state__in=IndexEntry.UNFINISHED)

    def at_rest(self) -> Self:
        return self.exclude(state__in=IndexEntry.UNFINISHED)

    def failed(self) -> Self:
        return self.filter(state=IndexEntry.State.FAILED)

    def due(self) -> Self:
        """The entries that a worker of this process may claim now.

        Entries of an index that is not registered here, as may happen during a deployment, are left to other processes.
        """
        names = [index.name for index in registry.get_indexes()]
        return self.unfinished().filter(index__in=names, available_at__lte=Now())

    def missing_from(self, collection: Collection) -> Self:
        """The entries that were not checked for this collection since its filling began."""
        return self.filter(~models.Exists(collection.stored.filter(entry=models.OuterRef("pk"))))


class IndexEntry(models.Model):
    """The index state of one image of one index, which workers keep.

    A row is due if its state is unfinished and ``available_at`` has passed. Claiming it moves ``available_at`` to the
    end of the lease. A change during the lease gives the row a new ``version`` but leaves the lease, so that two
    workers never write one image at once. Settling compares the version: see ``shopsearch.indexing.outbox``.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        CLAIMED = "claimed", _("claimed")
        INDEXED = "indexed", _("indexed")
        FAILED = "failed", _("failed")
        DELETING = "deleting", _("deleting")

    UNFINISHED = (State.PENDING, State.CLAIMED, State.DELETING)

    index = models.CharField(_("index"), max_length=100)
    image_id = models.CharField(_("image"), max_length=255)
    version = models.UUIDField(_("version"), default=uuid.uuid4, editable=False)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.PENDING)
    available_at = models.DateTimeField(_("available at"), db_default=Now())
    claim = models.UUIDField(_("claim"), null=True, editable=False)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    error = models.TextField(_("error"), blank=True)
    changed_at = models.DateTimeField(_("changed at"), db_default=Now())
    indexed_at = models.DateTimeField(_("indexed at"), null=True, blank=True)

    has_killed = False
    """Set when the entry is claimed: whether workers died of it, the last one with only this image."""

    objects = IndexEntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("index entry")
        verbose_name_plural = _("index entries")
        permissions = (("reindex", "Can reindex images"),)
        constraints = (models.UniqueConstraint(fields=("index", "image_id"), name="shopsearch_entry_unique"),)
        # It also covers the counts by index and state.
        indexes = (models.Index(fields=("state", "index", "available_at"), name="shopsearch_entry_due"),)

    def __str__(self) -> str:
        return f"{self.index}:{self.image_id} {self.state}"


Noted = TypeVar("Noted", "Change", "RelatedChange", "ProductChange")


class NotedQuerySet(IndexedQuerySet[Noted]):
    """What the shop has noted and workers have not folded yet."""

    def due(self) -> Self:
        """The changes that a worker of this process may fold now, the oldest first."""
        names = [index.name for index in registry.get_indexes()]
        return self.filter(index__in=names, available_at__lte=Now()).order_by("pk")


class ChangeQuerySet(NotedQuerySet["Change"]):
    """Changes, and how they are noted. Each is part of the current transaction, if there is one."""

    def note(
        self, index: ImageIndex, image_ids: Iterable[object], *, is_deletion: bool = False, using: str = ""
    ) -> int:
        """Note that these images may have changed, so that workers update the store. Returns how many.

        ``is_deletion``: they were deleted. Does not wake the workers.
        """
        using = using or index.database
        noted, later = 0, _while_paused(using)
        for chunk in chunks_of(dict.fromkeys(str(image_id) for image_id in image_ids)):
            if len(chunk) == 1 and not later:
                _insert_one(using, index.name, chunk[0], is_deletion=is_deletion)
            else:
                self.using(using).bulk_create(
                    [
                        Change(index=index.name, image_id=image_id, is_deletion=is_deletion, **later)
                        for image_id in chunk
                    ]
                )
            noted += len(chunk)
        return noted

    def note_all(self, index: ImageIndex) -> int:
        """Note every image that the index shows, and every image with an entry, so that ghosts are removed too."""
        return self._note_entries(index, IndexEntry.objects.of(index)) + self.note_new(index)

    def note_new(self, index: ImageIndex, using: str = "") -> int:
        """Note every image that the index shows and that has no entry yet."""
        noted = 0
        entries = IndexEntry.objects.of(index, using)
        for keys in keys_of(index.get_queryset().using(entries.db)):
            image_ids = {str(key) for key in keys}
            known = entries.filter(image_id__in=image_ids).values_list("image_id", flat=True)
            noted += self.note(index, sorted(image_ids - set(known)), using=entries.db)
        return noted

    def note_failed(self, index: ImageIndex) -> int:
        """Note every image that failed, to try it again."""
        return self._note_entries(index, IndexEntry.objects.of(index).failed())

    def noted_among(self, index: ImageIndex, image_ids: Iterable[str], using: str = "") -> set[str]:
        """The images among these that have a change, their own or a related row's, that is not folded yet."""
        image_ids = list(image_ids)
        if not image_ids:
            return set()
        own = self.of(index, using).filter(image_id__in=image_ids)
        noted = set(own.values_list("image_id", flat=True))
        rows: defaultdict[str, set[str]] = defaultdict(set)
        for lookup, row_id in RelatedChange.objects.of(index, own.db).values_list("lookup", "row_id"):
            rows[lookup].add(row_id)
        keys = keys_from(index.model, image_ids) if rows else []
        for lookup, row_ids in rows.items():
            for chunk in chunks_of(row_ids):
                noted.update(str(key) for key in _images_at(index, lookup, chunk, own.db).filter(pk__in=keys))
        return noted

    def _note_entries(self, index: ImageIndex, entries: IndexEntryQuerySet) -> int:
        noted = 0
        for pks in keys_of(entries):
            image_ids = list(entries.filter(pk__in=pks).values_list("image_id", flat=True))
            noted += self.note(index, image_ids, using=entries.db)
        return noted


class Change(models.Model):
    """An image was saved, deleted or touched: inserted by the transaction that did it, deleted by a worker."""

    index = models.CharField(_("index"), max_length=100)
    image_id = models.CharField(_("image"), max_length=255)
    is_deletion = models.BooleanField(_("deletion"), default=False)
    available_at = models.DateTimeField(_("available at"), db_default=Now(), db_index=True)
    """In the future while ``shopsearch.paused()`` lasts."""
    token = models.UUIDField(null=True, editable=False, db_index=True)
    """The id of the pause that holds the change, or of the worker that is folding it."""

    objects = ChangeQuerySet.as_manager()

    class Meta:
        verbose_name = _("change")
        verbose_name_plural = _("changes")

    def __str__(self) -> str:
        return f"{self.index}:{self.image_id}"


def _insert_one(using: str, index: str, image_id: str, *, is_deletion: bool) -> None:
    """Insert one change: what nearly every save of a shop does, and four times as fast as ``bulk_create``."""
    statement, parameters = _insertion(using, index, is_deletion)
    values = [image_id if value == _IMAGE_ID else value for value in parameters]
    with transaction.mark_for_rollback_on_error(using=using), connections[using].cursor() as cursor:
        cursor.execute(statement, values)


_IMAGE_ID = "\0"
"""Stands for the image's id in the parameters of ``_insertion``. No id has it."""


@cache
def _insertion(using: str, index: str, is_deletion: bool) -> tuple[str, tuple[Any, ...]]:
    """The statement that Django makes for the insertion of a change, and its parameters."""
    query = InsertQuery(Change)
    row = Change(index=index, image_id=_IMAGE_ID, is_deletion=is_deletion)
    query.insert_values([each for each in Change._meta.concrete_fields if not each.primary_key], [row])
    [(statement, parameters)] = query.get_compiler(using=using).as_sql()
    return statement, parameters


class RelatedChangeQuerySet(NotedQuerySet["RelatedChange"]):
    """Changes of related rows. Each is part of the current transaction, if there is one."""

    def note(self, index: ImageIndex, lookup: str, row_ids: Iterable[object], using: str) -> None:
        """Note that the images whose ``lookup`` leads to one of these rows may have changed. Does not wake the workers.

        Inserts one change per row, however many images there are. Workers look for the images later, so for a row that
        is about to be deleted, or moved to another product, note its images instead.
        """
        later = _while_paused(using)
        self.using(using).bulk_create(
            RelatedChange(index=index.name, lookup=lookup, row_id=str(row_id), **later) for row_id in row_ids
        )


class RelatedChange(models.Model):
    """A row that images are related to, such as their category, was saved: inserted by the transaction that did it.

    Workers note its images, a slice at a time. ``reached`` moves in the transaction that notes a slice, so if a worker
    dies in between, another goes on from there.
    """

    index = models.CharField(max_length=100)
    lookup = models.TextField()
    """The path from the image to the row, such as ``product__category``."""
    row_id = models.TextField()
    reached = models.TextField(blank=True)
    """The key of the last image that is noted; "" before the first."""
    available_at = models.DateTimeField(db_default=Now(), db_index=True)
    """Later than now while ``shopsearch.paused()`` lasts."""
    token = models.UUIDField(null=True, editable=False, db_index=True)
    """The id of the pause that holds the change, or of the worker that took it last."""

    objects = RelatedChangeQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.index}:{self.lookup}={self.row_id}"

    def images(self) -> QuerySet[Any, Any]:
        """The keys of the images that are still to be noted, in order."""
        images = _images_at(
            registry.get_index(self.index), self.lookup, [self.row_id], self._state.db or "default"
        )
        return images.filter(pk__gt=self.reached) if self.reached else images


class ProductChangeQuerySet(NotedQuerySet["ProductChange"]):
    """Changes of products. Each is part of the current transaction, if there is one."""

    def note(self, index: ImageIndex, keys: Iterable[object], using: str = "") -> int:
        """Note that these products may have changed, or got or lost a picture. Returns how many.

        Does not wake the workers.
        """
        using = using or index.database
        noted, later = 0, _while_paused(using)
        for chunk in chunks_of(dict.fromkeys(str(key) for key in keys)):
            self.using(using).bulk_create(ProductChange(index=index.name, key=key, **later) for key in chunk)
            noted += len(chunk)
        return noted

    def note_at(self, index: ImageIndex, lookup: str, row_ids: Iterable[object], using: str) -> None:
        """Note the products without a picture that are related to these rows as images are by the lookup."""
        try:
            products = products_at(index, lookup, row_ids, using)
        except (FieldError, ValidationError, ValueError):
            products = index.pictureless_products().using(using)
        for keys in keys_of(products):
            self.note(index, keys, using)


class ProductChange(models.Model):
    """A product that may have no picture was changed: inserted by the transaction that did it, deleted by a worker.

    Noted only for an index that finds products without a picture.
    """

    index = models.CharField(max_length=100)
    key = models.CharField(max_length=255)
    """The product's."""
    available_at = models.DateTimeField(db_default=Now(), db_index=True)
    """Later than now while ``shopsearch.paused()`` lasts."""
    token = models.UUIDField(null=True, editable=False, db_index=True)
    """The id of the pause that holds the change."""

    objects = ProductChangeQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.index}:{self.key}"


def noted_models() -> tuple[type[Change | RelatedChange | ProductChange], ...]:
    """The models of what is noted; a shop whose indexes find no products without a picture has no rows of the last."""
    if any(index.finds_pictureless for index in registry.get_indexes()):
        return Change, RelatedChange, ProductChange
    return Change, RelatedChange


def _images_at(index: ImageIndex, lookup: str, row_ids: Iterable[str], using: str) -> QuerySet[Any, Any]:
    """The keys of the images whose lookup leads to one of these rows, in order.

    All images of the index if the lookup cannot be followed: then the process that noted the change had an older or a
    newer declaration.
    """
    try:
        images = images_at(index, lookup, row_ids, using)
    except (FieldError, ValidationError, ValueError):
        images = index.model._base_manager.using(using)
    return images.order_by("pk").values_list("pk", flat=True)


def reindex(queryset: QuerySet[Any]) -> int:
    """Index these images again: for ``bulk_create``, ``update`` and raw SQL, which send no signals.

    Takes a queryset of a registered model; returns how many images were noted. Memory use is constant. The notes are
    part of the current transaction, if there is one; the workers wake after it. Raises ImproperlyConfigured for a model
    that is not registered.
    """
    index = registry.index_for(queryset.model._meta.concrete_model or queryset.model)
    noted = sum(Change.objects.note(index, keys) for keys in keys_of(queryset))
    wake(index.database)
    return noted


def wake(using: str) -> None:
    """Wake the workers after the commit; while paused, at the end of the pause."""
    if _pause.get() is None:
        broker.wake_after_commit(using)


@dataclass(slots=True)
class _Pause:
    token: uuid.UUID = field(default_factory=uuid.uuid4)
    databases: set[str] = field(default_factory=set)


_pause: ContextVar[_Pause | None] = ContextVar("shopsearch_pause", default=None)


def _while_paused(using: str) -> dict[str, Any]:
    """The fields that hold back a change until the pause ends; empty without a pause."""
    pause = _pause.get()
    if pause is None:
        return {}
    pause.databases.add(using)
    return {"available_at": Now() + timedelta(seconds=PAUSE_SECONDS), "token": pause.token}


@contextmanager
def paused() -> Iterator[None]:
    """For imports: what this thread changes inside the block is indexed at its end, each image once.

    If the process is killed, nothing is lost: the changes are due after PAUSE_SECONDS. Pauses may be nested; the
    outermost counts. Other threads are not paused.
    """
    if _pause.get() is not None:
        yield
        return
    pause = _Pause()
    reset = _pause.set(pause)
    try:
        yield
    finally:
        _pause.reset(reset)
        for using in sorted(pause.databases):
            _end(pause, using)


def _end(pause: _Pause, using: str) -> None:
    try:
        for model in noted_models():
            model._default_manager.using(using).filter(token=pause.token).update(
                available_at=Now(), token=None
            )
    except DatabaseError as error:
        # Either the transaction is being rolled back, with every change noted in it, or the database is away.
        logger.warning("The changes of the pause are indexed only after %s seconds: %s", PAUSE_SECONDS, error)
    else:
        broker.wake_after_commit(using)
