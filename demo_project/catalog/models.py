"""What the shop sells. Its pictures are shopsearch's own ProductImage, which points here by one setting."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from django.core.validators import MinValueValidator
from django.db import models
from django.urls import get_script_prefix, reverse
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

    from shopsearch.models import ProductImage


class Category(models.Model):
    name = models.CharField(_("name"), max_length=100)
    slug = models.SlugField(_("slug"), max_length=100, unique=True)

    if TYPE_CHECKING:
        products: RelatedManager[Product]

    class Meta:
        ordering = ("name",)
        verbose_name = _("category")
        verbose_name_plural = _("categories")

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return _address("catalog:category", self.slug, get_script_prefix())


class Product(models.Model):
    sku = models.CharField(_("SKU"), max_length=64, blank=True)
    """What the shop orders it by: each is one product's, but "" of those that have none."""
    title = models.CharField(_("title"), max_length=500)
    slug = models.SlugField(_("slug"), max_length=200, unique=True)
    category = models.ForeignKey(
        Category, models.PROTECT, related_name="products", verbose_name=_("category")
    )
    category_path = models.CharField(_("category path"), max_length=500, blank=True)
    """From the widest to the narrowest, as a supplier has it: "Electronics › Headphones › Earbuds"."""
    description = models.TextField(_("description"), blank=True)
    price = models.DecimalField(
        _("price"), max_digits=10, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)]
    )
    """None where no price is known."""
    stock = models.PositiveIntegerField(_("stock"), default=0)
    published = models.BooleanField(_("published"), default=True, db_index=True)
    colour = models.CharField(_("colour"), max_length=50, blank=True)
    pattern = models.CharField(_("pattern"), max_length=50, blank=True)
    brand = models.CharField(_("brand"), max_length=100, blank=True)
    store = models.CharField(_("store"), max_length=200, blank=True)
    """Who sells it, where that is not the shop itself; not always the brand."""
    details = models.JSONField(_("details"), default=dict, blank=True)
    """Further facts by name, as a supplier has them: ``{"Material": "Canvas"}``."""
    created = models.DateTimeField(_("created"), auto_now_add=True)

    if TYPE_CHECKING:
        images: RelatedManager[ProductImage]

    class Meta:
        ordering = ("pk",)
        verbose_name = _("product")
        verbose_name_plural = _("products")
        constraints = (
            models.UniqueConstraint(
                fields=("sku",), condition=~models.Q(sku=""), name="catalog_product_sku_unique"
            ),
        )

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return _address("catalog:product", self.slug, get_script_prefix())

    @property
    def in_stock(self) -> bool:
        return self.stock > 0


@lru_cache(maxsize=10_000)
def _address(view: str, slug: str, prefix: str) -> str:
    """Kept: a page of results asks for some forty."""
    return reverse(view, kwargs={"slug": slug})


class PictureSource(models.Model):
    """Where an imported picture came from: what an import that was stopped knows that it has already."""

    product = models.ForeignKey(
        Product, models.CASCADE, related_name="picture_sources", verbose_name=_("product")
    )
    image = models.OneToOneField(
        "shopsearch.ProductImage", models.CASCADE, related_name="source", verbose_name=_("picture")
    )
    address = models.CharField(_("address"), max_length=1000)

    class Meta:
        verbose_name = _("source of a picture")
        verbose_name_plural = _("sources of pictures")
        constraints = (
            models.UniqueConstraint(fields=("product", "address"), name="catalog_picture_source_unique"),
        )

    def __str__(self) -> str:
        return self.address
