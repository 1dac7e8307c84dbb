from decimal import Decimal

from shopsearch import FilterField, ImageIndex, register
from shopsearch.models import ProductImage

from .models import Artwork, PosterImage


@register(ProductImage)
class ProductImageIndex(ImageIndex):
    filters = {
        "category": FilterField(str, "category__name"),
        "price": Decimal,
        "in_stock": bool,
        "tags": list[str],
    }
    text_fields = ("title",)

    def get_queryset(self):
        return super().get_queryset().filter(product__published=True)

    def get_product_queryset(self):
        return super().get_product_queryset().filter(published=True)


@register(PosterImage)
class PosterImageIndex(ImageIndex):
    """What it filters by is on other rows than the product's."""

    filters = {
        "artist": FilterField(str, "artist__name"),
        "country": FilterField(str, "artist__country__name"),
        "labels": list[str],
        "sold": int,
    }
    related = ("editions", "rooms")


@register(Artwork)
class ArtworkIndex(ImageIndex):
    image_field = "original"
    product_field = ""
