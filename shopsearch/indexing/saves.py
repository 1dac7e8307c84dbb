"""Call followers for each row that is saved, in the transaction that writes it.

Django's own signal, post_save, is not enough: outside of a transaction, Django commits the row first and sends
post_save afterwards. If the process is killed in between, the change is lost. A transaction around the whole save is
too much: the shop's own receivers would run in it, and an IntegrityError that one of them swallows would silently roll
the product back. So only the step that writes the row is wrapped: ``Model._save_table``.

That method is private in Django, and no other module here uses it. Its parameters are compared at start-up: if they
differ, followers are called by pre_save and post_save instead, with a warning (W007).

post_save is always connected, because some apps write with ``update()`` and send it themselves, as django-oscar's
``StockRecord.allocate()`` does.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from django.apps import apps
from django.db import router, transaction
from django.db.models import Model
from django.db.models.signals import post_save, pre_save

logger = logging.getLogger(__name__)
Follower = Callable[..., None]
"""Called with the row, and with ``using`` and ``update_fields`` by name; None means that all fields are saved."""

PARAMETERS = ("self", "raw", "cls", "force_insert", "force_update", "using", "update_fields")
OUTSIDE = "This Django saves rows in a way that shopsearch does not know: a change is noted after its row is committed."
_TOLD = "_shopsearch_told"
"""Set on a row after its followers are called, until Django sends post_save for the same save."""


def is_wrappable() -> bool:
    """Whether this Django's ``_save_table`` has the parameters that are expected here."""
    known = getattr(Model, "_save_table", None)
    return known is not None and tuple(inspect.signature(known).parameters) == PARAMETERS


def add_follower(model: type[Model], name: str, after: Follower, before: Follower | None = None) -> None:
    """Call ``after`` when a row of this model is written, and ``before`` just before that.

    Rows of its proxies, children and parents count as well. A second call with the same name replaces the first.
    """
    for table in tables_of(model):
        followers = _followers(table)
        followers.after[name] = after
        if before is not None:
            followers.before[name] = before
    for sender in kin_of(model):
        uid = f"shopsearch:{sender._meta.label}"
        post_save.connect(_saved, sender=sender, dispatch_uid=uid)
        if not is_wrappable():
            pre_save.connect(_about_to_be_saved, sender=sender, dispatch_uid=uid)


def tables_of(model: type[Model]) -> set[type[Model]]:
    """The models whose tables hold a row of this one: its own and its parents'."""
    concrete = model._meta.concrete_model or model
    return {concrete, *concrete._meta.get_parent_list()}


def kin_of(model: type[Model]) -> Iterator[type[Model]]:
    """The model, its proxies, children and parents: Django sends a signal for the class that is saved, and no other."""
    concrete = model._meta.concrete_model or model
    for each in {model, *apps.get_models()}:
        if issubclass(each, concrete) or issubclass(concrete, each):
            yield each


@dataclass(slots=True)
class Followers:
    """By name: who is called for each row that is written to a table."""

    before: dict[str, Follower] = field(default_factory=dict)
    after: dict[str, Follower] = field(default_factory=dict)


def _followers(table: type[Model]) -> Followers:
    if "shopsearch_followers" not in table.__dict__:
        table.shopsearch_followers = Followers()  # type: ignore[attr-defined]
        if is_wrappable():
            _wrap(table, table.shopsearch_followers)  # type: ignore[attr-defined]
        else:
            logger.warning("%s: %s", table._meta.label, OUTSIDE)
    return table.shopsearch_followers  # type: ignore[attr-defined,no-any-return]


def _wrap(table: type[Model], followers: Followers) -> None:
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
            for follower in followers.before.values():
                follower(self, using=using, update_fields=update_fields)
            written = plain(self, *arguments)
            for follower in followers.after.values():
                follower(self, using=using, update_fields=update_fields)
        self.__dict__[_TOLD] = True
        return written

    table._save_table = _save_table  # type: ignore[attr-defined]


def _saved(
    sender: type[Model], instance: Model, using: str = "", update_fields: Any = None, **kwargs: object
) -> None:
    """Call the followers after a save that ``_save_table`` did not report: an app's ``update()``, or another Django."""
    if not instance.__dict__.pop(_TOLD, False):
        using = using or router.db_for_write(sender, instance=instance)
        followers = {name: each for table in _followed(instance) for name, each in table.after.items()}
        for follower in followers.values():
            follower(instance, using=using, update_fields=update_fields)


def _about_to_be_saved(
    sender: type[Model], instance: Model, using: str, update_fields: Any = None, **kwargs: object
) -> None:
    followers = {name: each for table in _followed(instance) for name, each in table.before.items()}
    for follower in followers.values():
        follower(instance, using=using, update_fields=update_fields)


def _followed(row: Model) -> Iterator[Followers]:
    for table in tables_of(type(row)):
        if "shopsearch_followers" in table.__dict__:
            yield table.shopsearch_followers  # type: ignore[attr-defined]
