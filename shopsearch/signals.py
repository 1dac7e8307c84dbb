"""Saves and deletions of images and products -> outbox rows in the same transaction, and a wake-up after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import wraps
from typing import Any

from django.apps import apps
from django.db import router, transaction
from django.db.models import CASCADE, Model
from django.db.models.signals import ModelSignal, post_delete, post_save, pre_delete

from shopsearch import outbox, wakeups
from shopsearch.registry import ImageIndex, get_indexes


class Receivers:
    """What an index does when its images, and the products they belong to, change. A fixture's rows count too."""

    def __init__(self, index: ImageIndex) -> None:
        self.index = index

    def image_saved(self, instance: Model, using: str, **kwargs: object) -> None:
        self._note(outbox.mark, [instance.pk], using)

    def image_deleted(self, instance: Model, using: str, **kwargs: object) -> None:
        self._note(outbox.mark_deleted, [instance.pk], using)

    def product_changed(self, instance: Model, using: str, **kwargs: object) -> None:
        self._note(outbox.mark, self._images_of(instance, using), using)

    def connect(self) -> None:
        self._connect(post_save, self.image_saved, self.index.model)
        self._connect(post_delete, self.image_deleted, self.index.model)
        _save_in_one_transaction(self.index.model)
        if self.index.product_field:
            self._connect(post_save, self.product_changed, self.index.product_model)
            _save_in_one_transaction(self.index.product_model)
            key: Any = self.index.model._meta.get_field(self.index.product_field)
            if key.remote_field.on_delete is not CASCADE:
                # The images stay, without a product to show; after the deletion nobody knows which they were.
                self._connect(pre_delete, self.product_changed, self.index.product_model)

    def _connect(self, signal: ModelSignal, receiver: Any, model: type[Model]) -> None:
        for sender in _saved_as(model):
            uid = f"shopsearch:{self.index.name}:{receiver.__name__}:{sender._meta.label}"
            signal.connect(receiver, sender=sender, weak=False, dispatch_uid=uid)

    def _note(self, marking: Any, image_ids: Iterable[object], using: str) -> None:
        if marking(self.index, image_ids, using=using):
            wakeups.wake_after_commit(using)

    def _images_of(self, product: Model, using: str) -> Iterable[object]:
        # The base manager: a default manager may hide just those images that the index has to forget.
        images = self.index.model._base_manager.using(using)
        return images.filter(**{self.index.product_field: product}).values_list("pk", flat=True)


def connect() -> None:
    """Follow every registered index. May be called again: nothing is connected twice."""
    for index in get_indexes():
        Receivers(index).connect()


def _save_in_one_transaction(model: type[Model]) -> None:
    """Have a save of this model and what its receivers write committed together.

    Django opens no transaction for a save outside of one, and sends post_save when the row is committed already: a
    process that is killed in between would leave a change that no outbox row tells of. (A deletion has a transaction.)
    """
    plain = model.save_base
    if hasattr(plain, "shopsearch"):
        return

    @wraps(plain)
    def save_base(self: Model, *args: Any, **kwargs: Any) -> None:
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using, savepoint=False):
            plain(self, *args, **kwargs)

    save_base.shopsearch = True  # type: ignore[attr-defined]
    model.save_base = save_base  # type: ignore[method-assign]


def _saved_as(model: type[Model]) -> Iterator[type[Model]]:
    """The model, its proxies and its children: Django sends a signal in the name of the class that was saved."""
    for each in {model, *apps.get_models()}:
        if issubclass(each, model):
            yield each
