"""The outbox: changes that the shop makes, and the index state of every image.

The shop only inserts changes, so its transactions never wait for one another here. Workers fold changes into index
entries: see ``shopsearch.indexing.outbox``.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from django.db import DatabaseError, models
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from shopsearch import broker, registry
from shopsearch.models.indexed import IndexedQuerySet
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import chunks_of, keys_of

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
    end of the lease. A change made meanwhile gives the row a new ``version`` but leaves the lease, so that two workers
    never write one image at once. Settling compares the version: see ``shopsearch.indexing.outbox``.
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
        indexes = (models.Index(fields=("state", "available_at"), name="shopsearch_entry_due"),)

    def __str__(self) -> str:
        return f"{self.index}:{self.image_id} {self.state}"


class ChangeQuerySet(IndexedQuerySet["Change"]):
    """Changes, and how to note them: in the current transaction, if there is one."""

    def due(self) -> Self:
        """The changes that a worker of this process may fold now, the oldest first."""
        names = [index.name for index in registry.get_indexes()]
        return self.filter(index__in=names, available_at__lte=Now()).order_by("pk")

    def note(
        self, index: ImageIndex, image_ids: Iterable[object], *, is_deletion: bool = False, using: str = ""
    ) -> int:
        """Note that these images may have changed, so that workers update the store. Returns how many.

        ``is_deletion``: they were deleted. Does not wake the workers.
        """
        using = using or index.database
        pause, noted = _pause.get(), 0
        later: dict[str, Any] = {}
        if pause is not None:
            pause.databases.add(using)
            later = {"available_at": Now() + timedelta(seconds=PAUSE_SECONDS), "token": pause.token}
        for chunk in chunks_of(dict.fromkeys(str(image_id) for image_id in image_ids)):
            self.using(using).bulk_create(
                [
                    Change(index=index.name, image_id=image_id, is_deletion=is_deletion, **later)
                    for image_id in chunk
                ]
            )
            noted += len(chunk)
        return noted

    def note_all(self, index: ImageIndex) -> int:
        """Note every image that the index shows, and every one that has an entry, so that ghosts go too."""
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
        Change.objects.using(using).filter(token=pause.token).update(available_at=Now(), token=None)
    except DatabaseError as error:
        # Either the transaction will be rolled back, with all that was noted in it, or the database is away.
        logger.warning("The changes of the pause are indexed only after %s seconds: %s", PAUSE_SECONDS, error)
    else:
        broker.wake_after_commit(using)
