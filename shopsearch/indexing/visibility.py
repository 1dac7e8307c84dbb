"""Visibility that changes with time: at the moments that an index names, compare what it shows with the outbox."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

from django.utils import timezone

from shopsearch.indexing import pictureless
from shopsearch.indexing.reconcile import gone
from shopsearch.models import Change
from shopsearch.registry import ImageIndex, get_indexes
from shopsearch.registry.keys import chunks_of

logger = logging.getLogger(__name__)
_looked_at: dict[str, datetime] = {}
"""By index: when this process last compared."""


def note_due() -> float | None:
    """Note the images that have appeared or disappeared because time passed. Returns the seconds until the next time.

    Returns None where no such time is known. The first call in a process compares everything: the last comparison may
    be days ago.
    """
    return min((each for index in get_indexes() for each in _note_due(index)), default=None)


def _note_due(index: ImageIndex) -> Iterator[float]:
    if type(index).changes_at is ImageIndex.changes_at:
        return
    now, last = timezone.now(), _looked_at.get(index.name)
    try:
        # Asked again from the last comparison: since then a row may have been saved whose time has already come.
        changed = now if last is None else index.changes_at(last)
        if changed is not None and changed <= now:
            note_differences(index)
        upcoming = index.changes_at(now)
    except Exception:  # the shop's own code, or its database
        logger.exception(
            "%s: changes_at failed, so images that appear or disappear with time wait.", index.name
        )
        return
    _looked_at[index.name] = now
    if upcoming is not None:
        yield max(0.0, (upcoming - now).total_seconds())


def note_differences(index: ImageIndex) -> int:
    """Note each image that the index shows and the outbox does not know, and the other way round. Returns how many.

    And products without a picture, likewise.
    """
    noted = Change.objects.note_new(index)
    for chunk in chunks_of(each.image_id for each in gone(index)):
        noted += Change.objects.note(index, chunk, using=index.database)
    if index.finds_pictureless:
        noted += pictureless.note(index, everything=False)
    return noted
