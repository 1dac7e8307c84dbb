"""The image index of django-oscar's catalogue."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from oscar.core.loading import get_class
from oscar.templatetags.currency_filters import currency

from shopsearch.registry import FilterField, ImageIndex
from shopsearch.registry.relations import with_related


def purchase_info(product: Any, request: Any = None) -> Any:
    """The product's price and availability by Oscar's strategy; without a request, those for an anonymous shopper.

    Makes no query if stockrecords, product class and children were prefetched with the product.
    """
    strategy = getattr(request, "strategy", None) or get_class("partner.strategy", "Selector")().strategy(
        request=request
    )
    if not product.is_parent:
        return strategy.fetch_for_product(product)
    product._prefetched_public_children = [each for each in product.children.all() if each.is_public]
    return strategy.fetch_for_parent(product)


def price_of(product: Any) -> Decimal | None:
    """The price, with tax where Oscar knows it; None for a product without a price."""
    return _amount(purchase_info(product).price)


def is_in_stock(product: Any) -> bool:
    """Whether the product, or one of its public variants, can be bought."""
    return bool(purchase_info(product).availability.is_available_to_buy)


def _amount(price: Any) -> Decimal | None:
    if not price.exists:
        return None
    amount: Decimal = price.incl_tax if price.is_tax_known else price.excl_tax
    return amount


class OscarImageIndex(ImageIndex):
    """Public products with the pictures, titles and UPCs of their variants; price and stock are the strategy's.

    All categories of the product count, whether the shop shows them or not.
    """

    image_field = "original"
    variant_of = "parent"
    filters = {
        "category": FilterField(list[str], "categories__slug", label="categories__name", few_values=True),
        "price": FilterField(Decimal, price_of),
        "in_stock": FilterField(bool, is_in_stock),
    }
    text_fields = ("title", "description")
    words = ("title", "description", "categories__name", "children__title")
    identifiers = ("title", "upc", "children__upc")
    newest = "date_created"
    related = ("stockrecords", "product_class", "children__stockrecords")

    def get_queryset(self) -> QuerySet[Any]:
        shown = (
            super().get_queryset().filter(product__is_public=True).exclude(product__parent__is_public=False)
        )
        return with_related(self, shown)

    def get_title(self, product: Any) -> str:
        return str(product.get_title())

    def describe(self, product: Any, image: Any, request: Any = None) -> dict[str, Any]:
        info = purchase_info(product, request)
        amount = _amount(info.price)
        return super().describe(product, image, request) | {
            "price": "" if amount is None else str(currency(amount, info.price.currency)),
            "in_stock": bool(info.availability.is_available_to_buy),
        }
