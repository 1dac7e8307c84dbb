"""Snapshots: an image as the shop has it now, to be compared with what the store holds of it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, SuspiciousOperation
from django.db import InterfaceError, OperationalError

from shopsearch.conf import settings
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import keys_from
from shopsearch.types import FilterValue

logger = logging.getLogger(__name__)


class Unusable(Exception):  # says what is wrong with the image, not with the program
    """The image can never be indexed as it is; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    content: bytes
    """The file, but no more than one byte past MAX_IMAGE_BYTES, which is enough for ``images.decode`` to refuse it."""
    image_hash: str
    product_id: str
    fields: Mapping[str, FilterValue | None]
    fields_hash: str
    """``hash_fields`` of the above."""


def shown(index: ImageIndex, image_ids: Iterable[str], *, using: str) -> dict[str, Any]:
    """Those of the images that the shop shows, by id, in one query.

    One without a file or without a product cannot be shown. Ids that the model's key cannot have are left out.
    """
    keys = keys_from(index.model, image_ids)
    found = index.get_queryset().using(using).filter(pk__in=keys) if keys else ()
    return {
        str(image.pk): image
        for image in found
        if getattr(image, index.image_field) and _product_of(index, image) is not None
    }


def take(index: ImageIndex, image: Any) -> Snapshot:
    """The image with its file, which is read once, its product, its filter values and its words.

    Raises Unusable when it can never be indexed, and what the file storage and the database raise when they are away.
    """
    file = getattr(image, index.image_field)
    try:
        with file.storage.open(file.name, "rb") as opened:
            content = bytes(opened.read(settings.MAX_IMAGE_BYTES + 1))
    except FileNotFoundError as error:
        raise Unusable(f"The file {file.name} is missing; upload the picture again.") from error
    except SuspiciousOperation as error:
        raise Unusable(f"The file cannot be read: {error}") from error
    try:
        product_id = str(index.get_product(image).pk)
        fields = index.get_field_values(image)
        fields_hash = hash_fields(product_id, fields)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # the shop's own code, and only this image's affair
        logger.exception("%s: image %s has no filter values.", index.name, image.pk)
        raise Unusable(f"Its filter values cannot be read: {type(error).__name__}: {error}") from error
    return Snapshot(
        content=content,
        image_hash=hashlib.sha256(content).hexdigest(),
        product_id=product_id,
        fields=fields,
        fields_hash=fields_hash,
    )


def hash_fields(product_id: str, fields: Mapping[str, FilterValue | None]) -> str:
    """A digest of the product's key and the fields, names included."""
    return hashlib.sha256(json.dumps([product_id, fields], sort_keys=True).encode()).hexdigest()


def _product_of(index: ImageIndex, image: Any) -> Any:
    try:
        return index.get_product(image)
    except ObjectDoesNotExist:
        return None
