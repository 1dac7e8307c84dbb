"""Signal receivers: note a change, in the same transaction, when an image, product or related row changes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Any

from django.db import router
from django.db.models import CASCADE, Model
from django.db.models.signals import ModelSignal, m2m_changed, post_delete, pre_delete

from shopsearch.indexing import saves
from shopsearch.models import Change, ProductChange, RelatedChange
from shopsearch.models.outbox import wake
from shopsearch.registry import ImageIndex, get_indexes
from shopsearch.registry.keys import keys_of
from shopsearch.registry.relations import Relation, images_at, relations_of

logger = logging.getLogger(__name__)


class Receivers:
    """The receivers of one index: for its images, their products, and the rows that those are related to.

    Rows that are loaded from a fixture count too.
    """

    def __init__(self, index: ImageIndex) -> None:
        self.index = index

    def image_saved(self, instance: Model, using: str, **kwargs: object) -> None:
        if (
            instance.pk is not None
        ):  # None: a child's row, of which only the parent's row has been written yet
            self._note([instance.pk], using)
            self._note_products(_keys_at(instance, self.index.product_field, using), using)

    def image_leaves(self, instance: Model, using: str, **kwargs: object) -> None:
        """It is about to be saved: its product may be another one so far, which loses its last picture."""
        self._note_products(_stored_keys_at(instance, self.index.product_field, using), using)

    def image_deleted(self, instance: Model, using: str, **kwargs: object) -> None:
        self._note([instance.pk], using, is_deletion=True)
        self._note_products(_keys_at(instance, self.index.product_field, using), using)

    def product_changed(self, instance: Model, using: str, **kwargs: object) -> None:
        for lookup in self.index.product_lookups:
            self._note_images(using, lookup, [instance.pk])

    def product_noted(self, instance: Model, using: str, **kwargs: object) -> None:
        """It was saved or deleted, and may have no picture."""
        self._note_products(chain([instance.pk], _keys_at(instance, self.index.variant_of, using)), using)

    def product_leaves(self, instance: Model, using: str, **kwargs: object) -> None:
        """It is about to be saved: it may be a variant of another product so far, which loses its last picture."""
        self._note_products(_stored_keys_at(instance, self.index.variant_of, using), using)

    def connect(self) -> None:
        moves = self.index.finds_pictureless and bool(self.index.product_field)
        self._with_each_save(self.index.model, self.image_saved, before=self.image_leaves if moves else None)
        self._connect(post_delete, self.image_deleted, self.index.model)
        if self.index.product_field:
            self._with_each_save(self.index.product_model, self.product_changed)
            key: Any = self.index.model._meta.get_field(self.index.product_field)
            if key.remote_field.on_delete is not CASCADE:
                # The images stay, without a product to show; after the deletion it is unknown which they were.
                self._connect(pre_delete, self.product_changed, self.index.product_model)
        if self.index.finds_pictureless:
            before = self.product_leaves if self.index.variant_of else None
            self._with_each_save(self.index.product_model, self.product_noted, before=before)
            self._connect(post_delete, self.product_noted, self.index.product_model)
        for relation in relations_of(self.index):
            self._follow(relation)

    def _follow(self, relation: Relation) -> None:
        def reads(update_fields: Any) -> bool:
            return relation.reads(None if update_fields is None else frozenset(update_fields))

        def row_changed(instance: Model, using: str, update_fields: Any = None, **kwargs: object) -> None:
            if reads(update_fields):
                self._note_related(using, relation.lookup, [instance.pk])

        def row_leaves(instance: Model, using: str, update_fields: Any = None, **kwargs: object) -> None:
            if reads(update_fields):
                self._note_now(using, relation.lookup, [instance.pk])

        def link_changed(instance: Model, using: str, **kwargs: object) -> None:
            self._note_related(using, relation.source, [getattr(instance, near)])

        def links_changed(
            instance: Model, action: str, reverse: bool, pk_set: Any, using: str, **kwargs: object
        ) -> None:
            begins_here = reverse == relation.is_reverse
            if action in ("post_add", "post_remove"):
                both = not relation.is_reverse and relation.field.remote_field.symmetrical
                ends = [instance.pk] if begins_here else []
                ends += pk_set if both or not begins_here else []
                self._note_related(using, relation.source, ends)
            elif action == "pre_clear":  # afterwards it is unknown which they were
                self._note_now(using, relation.source if begins_here else relation.lookup, [instance.pk])

        name = relation.lookup
        self._with_each_save(
            relation.model, row_changed, name, before=row_leaves if relation.may_leave else None
        )
        self._connect(pre_delete, row_leaves, relation.model, name)
        if relation.field.many_to_many:
            forward = relation.field.remote_field if relation.is_reverse else relation.field
            through = forward.remote_field.through
            nearer = forward.m2m_reverse_field_name if relation.is_reverse else forward.m2m_field_name
            near = through._meta.get_field(nearer()).attname
            self._connect(m2m_changed, links_changed, through, name)
            if not through._meta.auto_created:
                self._with_each_save(through, link_changed, name)
                self._connect(pre_delete, link_changed, through, name)

    def _with_each_save(
        self, model: type[Model], receiver: Any, name: str = "", *, before: Any = None
    ) -> None:
        saves.add_follower(model, f"{self.index.name}:{receiver.__name__}:{name}", receiver, before)

    def _connect(self, signal: ModelSignal, receiver: Any, model: type[Model], name: str = "") -> None:
        for sender in saves.kin_of(model):
            uid = f"shopsearch:{self.index.name}:{receiver.__name__}:{name}:{sender._meta.label}"
            signal.connect(receiver, sender=sender, weak=False, dispatch_uid=uid)

    def _note_related(self, using: str, lookup: str, pks: Iterable[object]) -> None:
        """Note the rows. Workers find the images whose ``lookup`` leads to them later, as there may be many."""
        if lookup in self.index.product_lookups:  # a product has few images
            return self._note_now(using, lookup, pks)
        pks = [pk for pk in pks if pk is not None]
        if pks and self._can_note(using):
            RelatedChange.objects.note(self.index, lookup, pks, using)
            wake(using)

    def _note_images(self, using: str, lookup: str, pks: Iterable[object]) -> None:
        """Note the images themselves, now, in chunks and constant memory: later it is unknown which they were."""
        pks = [pk for pk in pks if pk is not None]
        if pks and self._can_note(using):
            for keys in keys_of(images_at(self.index, lookup, pks, using)):
                self._note(keys, using)

    def _note_now(self, using: str, lookup: str, pks: Iterable[object]) -> None:
        """Note the images, and the products without one, that are related to these rows at this moment."""
        pks = [pk for pk in pks if pk is not None]
        self._note_images(using, lookup, pks)
        if self.index.finds_pictureless and pks and self._can_note(using):
            ProductChange.objects.note_at(self.index, lookup, pks, using)
            wake(using)

    def _note_products(self, keys: Iterable[object], using: str) -> None:
        if not (self.index.finds_pictureless and self._can_note(using)):
            return
        if ProductChange.objects.note(self.index, (key for key in keys if key is not None), using):
            wake(using)

    def _note(self, image_ids: Iterable[object], using: str, *, is_deletion: bool = False) -> None:
        if self._can_note(using) and Change.objects.note(
            self.index, image_ids, is_deletion=is_deletion, using=using
        ):
            wake(using)

    def _can_note(self, using: str) -> bool:
        """Whether the project's routers allow both the images and their changes in this database.

        Where they do not, the tables are missing, and the shop's save must not fail because of that.
        """
        if all(router.allow_migrate_model(using, model) for model in (Change, self.index.model)):
            return True
        _log_once(self.index.name, using)
        return False


def _keys_at(row: Model, name: str, using: str) -> Iterator[object]:
    """The primary key of the row that this one's foreign key of this name leads to; the row's own without a name."""
    field: Any = row._meta.get_field(name) if name else row._meta.pk
    value = getattr(row, field.attname)
    if not name or value is None or field.target_field.primary_key:
        yield value
        return
    # Asked for only where products without a picture are noted.
    owners = field.related_model._base_manager.using(using).filter(**{field.target_field.attname: value})
    yield from owners.values_list("pk", flat=True)


def _stored_keys_at(row: Model, name: str, using: str) -> Iterator[object]:
    """The same of the row as the database still has it; nothing of a new one."""
    if row.pk is not None:
        stored = type(row)._base_manager.using(using).filter(pk=row.pk)
        yield from stored.values_list(f"{name}__pk", flat=True)


@cache
def _log_once(index: str, using: str) -> None:
    """Log it once per process, not with each save."""
    logger.error(
        "%s: changes in the database %r cannot be noted; `manage.py check` says why (E008).", index, using
    )


def connect() -> None:
    """Connect the receivers of every registered index. May be called again: nothing is connected twice."""
    for index in get_indexes():
        Receivers(index).connect()
