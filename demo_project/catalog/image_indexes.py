"""How the shop's pictures are searched."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext_noop

from demo_project.rendering.palettes import COLOURS
from shopsearch import FilterField, ImageIndex, register
from shopsearch.models import ProductImage

from .models import Product
from .templatetags.shop import price
from .thumbnails import thumbnail_url

SWATCHES = {
    name: "#{:02x}{:02x}{:02x}".format(*(int(part) for part in colour)) for name, colour in COLOURS.items()
}

gettext_noop("in stock")  # how the search page names that filter; the others are named like their fields


@register(ProductImage)
class ProductImageIndex(ImageIndex):
    filters = {
        "category": FilterField(str, "category__slug", label="category__name"),
        "price": FilterField(Decimal, unit="$%s"),
        "in_stock": FilterField(bool, "stock"),
        "colour": FilterField(str, swatches=SWATCHES),
        "brand": str,
    }
    newest = "created"
    text_fields = ("title",)
    words = ("title", "description", "brand", "category__name")
    identifiers = ("sku", "title")
    language = "en"

    def get_queryset(self) -> QuerySet[ProductImage]:
        """Pictures of what is for sale: a product taken off the shop's pages leaves the search too."""
        images = ProductImage._default_manager.select_related("product__category")
        return images.filter(product__published=True)

    def get_picture_url(self, image: ProductImage) -> str:
        return thumbnail_url(image) if image.image else ""

    def describe(self, product: Product, image: ProductImage, request: Any = None) -> dict[str, Any]:
        return super().describe(product, image, request) | {
            "price": price(product.price),
            "in_stock": product.in_stock,
            "category": product.category.name,
        }
