"""Saves and deletions of images and products -> changes noted in the same transaction, and a wake-up after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import CASCADE, Model
from django.db.models.signals import ModelSignal, post_delete, pre_delete

from shopsearch import changes
from shopsearch.registry import ImageIndex, get_indexes


class Receivers:
    """What an index does when its images, and the products they belong to, change. A fixture's rows count too."""

    def __init__(self, index: ImageIndex) -> None:
        self.index = index

    def image_saved(self, instance: Model, using: str, **kwargs: object) -> None:
        if instance.pk is not None:  # of a child whose parent's row is being written
            self._note([instance.pk], using)

    def image_deleted(self, instance: Model, using: str, **kwargs: object) -> None:
        self._note([instance.pk], using, is_deletion=True)

    def product_changed(self, instance: Model, using: str, **kwargs: object) -> None:
        self._note(self._images_of(instance, using), using)

    def connect(self) -> None:
        self._with_each_save(self.index.model, self.image_saved)
        self._connect(post_delete, self.image_deleted, self.index.model)
        if self.index.product_field:
            self._with_each_save(self.index.product_model, self.product_changed)
            key: Any = self.index.model._meta.get_field(self.index.product_field)
            if key.remote_field.on_delete is not CASCADE:
                # The images stay, without a product to show; after the deletion nobody knows which they were.
                self._connect(pre_delete, self.product_changed, self.index.product_model)

    def _with_each_save(self, model: type[Model], receiver: Any) -> None:
        for table in _tables(model):
            _followers(table)[f"{self.index.name}:{receiver.__name__}"] = receiver

    def _connect(self, signal: ModelSignal, receiver: Any, model: type[Model]) -> None:
        for sender in _kin(model):
            uid = f"shopsearch:{self.index.name}:{receiver.__name__}:{sender._meta.label}"
            signal.connect(receiver, sender=sender, weak=False, dispatch_uid=uid)

    def _note(self, image_ids: Iterable[object], using: str, *, is_deletion: bool = False) -> None:
        if changes.note(self.index, image_ids, is_deletion=is_deletion, using=using):
            changes.wake(using)

    def _images_of(self, product: Model, using: str) -> Iterable[object]:
        # The base manager: a default manager may hide just those images that the index has to forget.
        images = self.index.model._base_manager.using(using)
        # By key, since the product may come as its parent, or as a proxy of it.
        return images.filter(**{f"{self.index.product_field}__pk": product.pk}).values_list("pk", flat=True)


def connect() -> None:
    """Follow every registered index. May be called again: nothing is connected twice."""
    for index in get_indexes():
        Receivers(index).connect()


def _followers(table: type[Model]) -> dict[str, Callable[..., None]]:
    """Who is told of each row written to this model's table, in the transaction that writes it.

    Not by post_save: Django opens no transaction for a save outside of one, and sends that signal when the row is
    committed already; a process killed in between would leave a change that is noted nowhere. And not by a
    transaction around the whole save, in which the shop's own receivers would run too: an IntegrityError that one of
    them swallows would take the product back without a word. So it is the one step between that is wrapped.
    """
    if "shopsearch_followers" in table.__dict__:
        return table.shopsearch_followers  # type: ignore[attr-defined,no-any-return]
    followers: dict[str, Callable[..., None]] = {}
    plain: Any = table._save_table  # type: ignore[attr-defined]

    @wraps(plain)
    def _save_table(
        self: Model,
        raw: bool = False,
        cls: type[Model] | None = None,
        force_insert: bool = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> Any:
        arguments = (raw, cls, force_insert, force_update, using, update_fields)
        if cls is not table:  # the row of a parent or a child
            return plain(self, *arguments)
        with transaction.atomic(using=using, savepoint=False):
            written = plain(self, *arguments)
            for follower in followers.values():
                follower(self, using=using)
        return written

    table._save_table = _save_table  # type: ignore[attr-defined]
    table.shopsearch_followers = followers  # type: ignore[attr-defined]
    return followers


def _tables(model: type[Model]) -> set[type[Model]]:
    """The models whose tables hold a row of this one: its own and its parents'."""
    concrete = model._meta.concrete_model or model
    return {concrete, *concrete._meta.get_parent_list()}


def _kin(model: type[Model]) -> Iterator[type[Model]]:
    """The model, its proxies, children and parents: Django sends a signal in the name of the class at hand."""
    concrete = model._meta.concrete_model or model
    for each in {model, *apps.get_models()}:
        if issubclass(each, concrete) or issubclass(concrete, each):
            yield each
