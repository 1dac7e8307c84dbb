"""Products without a picture: keep what words find them by up to date, in the shop's own database.

The shop notes the key of a product that was saved, deleted, or got or lost a picture; workers look at it and write or
delete its row. Every worker first marks the row with a version of its own and reads the product after that, and writes
only where its mark is still there: so what was read last is what stays. A note is deleted after that, so a worker that
dies leaves it to the next one.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now

from shopsearch import registry
from shopsearch.conf import settings
from shopsearch.indexing import collections, vocabulary
from shopsearch.models import Collection, PicturelessProduct, ProductChange
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import keys_from, keys_of
from shopsearch.registry.relations import blank_images

logger = logging.getLogger(__name__)
FOLLOWED_AT_ONCE = 500


def follow() -> int:
    """Look at the products that were noted, some hundreds of them. Returns how many. Never raises.

    Those that cannot be looked at now are tried again later.
    """
    return sum(map(_follow, _databases()))


def _databases() -> set[str]:
    return {index.database for index in registry.get_indexes() if index.finds_pictureless}


def _follow(using: str) -> int:
    followed = 0
    due: list[ProductChange] = []
    try:
        due = list(ProductChange.objects.using(using).due()[:FOLLOWED_AT_ONCE])
        for name, noted in groupby(sorted(due, key=attrgetter("index")), key=attrgetter("index")):
            changes, index = list(noted), registry.get_index(name)
            refresh(index, {each.key for each in changes}, using)
            _begin(index, using)
            ProductChange.objects.using(using).filter(pk__in=[each.pk for each in changes]).delete()
            followed += len(changes)
    except Exception:
        logger.exception("Products without a picture wait to be looked at.")
        _postpone(due, using)
    return followed


def _begin(index: ImageIndex, using: str) -> None:
    """Have the index's first collection, which a search needs, where not a single image has made it."""
    has_live = Collection.objects.of(index, using).live().exists()
    if not has_live and PicturelessProduct.objects.of(index, using).exists():
        collections.begin_live(index, using)


def _postpone(due: Iterable[ProductChange], using: str) -> None:
    try:
        waiting = ProductChange.objects.using(using).filter(pk__in=[each.pk for each in due])
        waiting.update(available_at=Now() + timedelta(seconds=settings.MAX_BACKOFF_SECONDS))
    except Exception as error:
        logger.warning("They are tried again at the next sweep: %s", error)


def refresh(index: ImageIndex, keys: Iterable[str], using: str) -> None:
    """Write the rows of these products as the shop has them now, and delete those of products that have a picture, are
    hidden, or are gone. Where the shop's own code cannot read a product's words, its row stays as it is.
    """
    keys = set(map(str, keys_from(index.product_model, {*keys, *_parents(index, keys, using)})))
    rows = PicturelessProduct.objects.of(index, using).filter(key__in=keys)
    shown = index.pictureless_products(keys).using(using)
    found = set(map(str, shown.values_list("pk", flat=True)))
    version = uuid.uuid4()
    # Of all that were found: another worker may delete a row until it is marked.
    new = [PicturelessProduct(index=index.name, key=key, version=version) for key in sorted(found)]
    with transaction.atomic(using=using):
        # In one order, so that two workers with the same rows never wait for each other.
        known = list(rows.select_for_update().order_by("key").values_list("pk", flat=True))
        if not (found or known):
            return
        rows.update(version=version)
        PicturelessProduct.objects.using(using).bulk_create(new, ignore_conflicts=True)
    ours = rows.filter(version=version)
    with index.in_its_language():
        products = list(shown)
        images = dict(zip((str(each.pk) for each in products), blank_images(index, products), strict=True))
        terms = {key: _terms(index, image, key) for key, image in images.items()}
    before = dict(ours.values_list("key", "terms"))
    changed = {key: each for key, each in terms.items() if each is not None and each != before.get(key)}
    with transaction.atomic(using=using):
        for key, each in changed.items():
            ours.filter(key=key).update(terms=each)
        ours.exclude(key__in=images).delete()
    vocabulary.add(index, [(image, None) for image in images.values()], using=using)


def _parents(index: ImageIndex, keys: Iterable[str], using: str) -> set[str]:
    """The products that those of these keys are variants of."""
    if not index.variant_of:
        return set()
    own = index.product_model._base_manager.using(using)
    variants = own.filter(pk__in=keys_from(index.product_model, keys)).exclude(**{index.variant_of: None})
    return set(map(str, variants.values_list(f"{index.variant_of}__pk", flat=True)))


def _terms(index: ImageIndex, image: Any, key: str) -> str | None:
    try:
        return f" {index.terms_of(index.get_product(image))} "
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # the shop's own code
        logger.exception("%s: product %s has no words.", index.name, key)
        return None


def note(index: ImageIndex, *, everything: bool) -> int:
    """Note the products without a picture that have no row, and the rows whose product is none. Returns how many.

    With ``everything``, all products without a picture and all rows: for words that changed without a signal.
    """
    rows = PicturelessProduct.objects.of(index)
    if not index.finds_pictureless:
        ProductChange.objects.of(index).delete()
        rows.delete()
        return 0
    noted = 0
    for chunk in keys_of(index.pictureless_products()):
        keys = set(map(str, chunk))
        known = set() if everything else set(rows.filter(key__in=keys).values_list("key", flat=True))
        noted += ProductChange.objects.note(index, sorted(keys - known))
    for pks in keys_of(rows):
        held = set(rows.filter(pk__in=pks).values_list("key", flat=True))
        gone = held - set(map(str, index.pictureless_products(held).values_list("pk", flat=True)))
        noted += ProductChange.objects.note(index, sorted(gone))
    return noted
