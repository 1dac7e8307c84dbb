"""Kept vectors: of pictures that the shop has and its collections have not, so that none is embedded twice.

An image that is hidden leaves every collection, and so does one that FAILED. What they held of it is kept here until
they hold it again, or the image is deleted. A kept vector is given back for the very file and the very space that it
was made of, and for nothing else: whatever dies in between, nothing stale returns. To forget one only saves room.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.db import models

from shopsearch.backends import get_vector_store
from shopsearch.models import KeptVector
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import keys_from, keys_of

if TYPE_CHECKING:
    from shopsearch.models import Collection, IndexEntry


def there(index: ImageIndex, image_ids: Iterable[str], *, using: str) -> set[str]:
    """Those of the images that the shop has, shown or not, in one query."""
    keys = keys_from(index.model, image_ids)
    rows = index.model._base_manager.using(using).filter(pk__in=keys)
    return {str(key) for key in rows.values_list("pk", flat=True)}


def read(
    index: ImageIndex, entries: Sequence[IndexEntry], collections: Iterable[Collection]
) -> list[KeptVector]:
    """What the collections hold of these images for certain, to be kept: one for each space, of the first that has it.

    Belongs to its hash if the entries' claims still hold afterwards.
    """
    found: dict[tuple[str, str], KeptVector] = {}
    for collection in collections:
        hashes = {
            entry.image_id: hashes[0]
            for entry in entries
            if (entry.image_id, collection.space) not in found and (hashes := _held(entry, collection))
        }
        ids = [index.entity_id(image_id) for image_id in hashes]
        for entity in get_vector_store().fetch(collection.name, ids) if ids else ():
            found[entity.image_id, collection.space] = KeptVector(
                index=index.name,
                image_id=entity.image_id,
                space=collection.space,
                image_hash=hashes[entity.image_id],
                numbers=entity.vector.astype("<f4").tobytes(),
            )
    return list(found.values())


def keep(rows: Sequence[KeptVector], *, using: str) -> None:
    """Call it in the transaction in which the claims are found to hold, and what the entries say is doubted."""
    KeptVector.objects.using(using).bulk_create(rows, ignore_conflicts=True)


def kept(index: ImageIndex, image_ids: Iterable[str], *, using: str) -> dict[str, list[KeptVector]]:
    """By image, in one query; in none where there are no images."""
    found: defaultdict[str, list[KeptVector]] = defaultdict(list)
    for row in KeptVector.objects.of(index, using).filter(image_id__in=list(image_ids)):
        found[row.image_id].append(row)
    return found


def forget(index: str, image_ids: Iterable[str], *, using: str) -> None:
    KeptVector.objects.using(using).filter(index=index, image_id__in=list(image_ids)).delete()


def tidy(index: ImageIndex, collections: models.QuerySet[Collection]) -> None:
    """Forget what is asked for no more: of spaces that none of the collections has, and of images that were deleted and
    nobody was told. Memory does not grow with the catalogue.
    """
    using = collections.db
    rows = KeptVector.objects.of(index, using)
    for pks in keys_of(rows.exclude(space__in=list(collections.values_list("space", flat=True)))):
        rows.filter(pk__in=pks).delete()
    for pks in keys_of(rows):
        image_ids = set(rows.filter(pk__in=pks).values_list("image_id", flat=True))
        forget(index.name, image_ids - there(index, image_ids, using=using), using=using)


def _held(entry: IndexEntry, collection: Collection) -> Any:
    """The hashes that the entry tells of the collection; None where that is nothing or not certain."""
    return next((entry.held[key] for key in collection.keys if key in entry.held), None)
