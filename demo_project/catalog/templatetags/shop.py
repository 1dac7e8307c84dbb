"""How the shop writes prices and addresses of pictures."""

from __future__ import annotations

from decimal import Decimal

from django import template
from django.core.files.storage import default_storage
from django.utils.formats import number_format

register = template.Library()


@register.filter
def price(amount: Decimal) -> str:
    """``€24.90``, in the reader's way of writing numbers."""
    return f"€{number_format(amount, 2, use_l10n=True, force_grouping=True)}"


@register.filter
def media_url(name: str) -> str:
    """The address of an uploaded file, by its name."""
    return default_storage.url(name)
