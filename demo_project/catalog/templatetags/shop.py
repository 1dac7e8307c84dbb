"""How the shop writes prices and addresses of pictures, and its list of categories."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from django import template
from django.db.models import QuerySet
from django.utils.formats import number_format
from django.utils.translation import get_language

from demo_project.catalog.models import Category
from demo_project.catalog.thumbnails import thumbnail_url

register = template.Library()


@register.filter
def price(amount: Decimal | str | None) -> str:
    """``$24.90``, in the reader's way of writing numbers; "" where no price is known."""
    if amount in (None, ""):
        return ""
    return _written(Decimal(amount), get_language())


@lru_cache(maxsize=10_000)
def _written(amount: Decimal, language: str | None) -> str:
    return f"${number_format(amount, 2, use_l10n=True, force_grouping=True)}"


register.simple_tag(thumbnail_url, name="thumbnail")


@register.simple_tag
def categories() -> QuerySet[Category]:
    """Those with something to show, for the header of every page."""
    return Category.objects.filter(products__published=True).distinct()
