"""Descriptions: a product as its index describes it, whatever the shop's own code does meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import InterfaceError, OperationalError

from shopsearch.registry import ImageIndex

logger = logging.getLogger(__name__)


def described(index: ImageIndex, product: Any, image: Any) -> dict[str, Any]:
    """What the index's ``describe`` says.

    Where that raises, what can be said without it, and the log has why: one product does not take down the page that
    it is on.
    """
    try:
        return index.describe(product, image)
    except (OperationalError, InterfaceError):  # the database is away, and not for this product alone
        raise
    except Exception:
        logger.exception("%s: product %s cannot be described.", index.name, product.pk)
    return {
        "id": product.pk,
        "title": _said(lambda: index.get_title(product)) or f"{product._meta.verbose_name} {product.pk}",
        "url": _said(lambda: index.get_url(product)),
        "image": _said(lambda: index.get_picture_url(image)),
    }


def text_of(index: ImageIndex, product: Any) -> str:
    """Words that say what the product is, for a reranker; "" where the shop's code raises."""
    try:
        return index.get_text(product)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("%s: product %s has no words.", index.name, product.pk)
        return ""


def _said(say: Callable[[], str]) -> str:
    try:
        return say()
    except Exception:  # it is in the log already
        return ""
