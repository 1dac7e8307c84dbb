"""Visibility that changes with time: where an index says when, what it shows is compared with the outbox then."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

from django.utils import timezone

from shopsearch.indexing.reconcile import gone
from shopsearch.models import Change
from shopsearch.registry import ImageIndex, get_indexes
from shopsearch.registry.keys import chunks_of

logger = logging.getLogger(__name__)
_looked_at: dict[str, datetime] = {}
"""By index, when this process looked last."""


def follow() -> float | None:
    """Note the images that time alone has shown or hidden. Returns the seconds until that happens again, if it will.

    The first time in a process, everything is looked at: nobody may have looked for days.
    """
    return min((each for index in get_indexes() for each in _follow(index)), default=None)


def _follow(index: ImageIndex) -> Iterator[float]:
    if type(index).changes_at is ImageIndex.changes_at:
        return
    now, last = timezone.now(), _looked_at.get(index.name)
    try:
        # Asked anew: what was saved since the last look may have changed since then too.
        changed = now if last is None else index.changes_at(last)
        if changed is not None and changed <= now:
            note(index)
        upcoming = index.changes_at(now)
    except Exception:  # the shop's own code, or its database
        logger.exception("%s: it cannot be told when it changes.", index.name)
        return
    _looked_at[index.name] = now
    if upcoming is not None:
        yield max(0.0, (upcoming - now).total_seconds())


def note(index: ImageIndex) -> int:
    """Note each image that the index shows and the outbox does not know, and the other way round. How many."""
    noted = Change.objects.note_new(index)
    for chunk in chunks_of(each.image_id for each in gone(index)):
        noted += Change.objects.note(index, chunk, using=index.database)
    return noted
