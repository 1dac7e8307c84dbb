"""Product images: the abstract model, and the one that comes with shopsearch."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from shopsearch.models.outbox import reindex

# ProductImage's foreign key needs a target even before the project has chosen one. If neither setting is given, check
# E001 stops `migrate`, so this fallback never reaches a database.
PRODUCT_MODEL = getattr(settings, "SHOPSEARCH_PRODUCT_MODEL", "shopsearch.IndexEntry")


class ProductImageQuerySet(QuerySet[Any]):
    """Product images with ``reindex``, for changes that send no signals. Your own manager may be made from it."""

    def reindex(self) -> int:
        """Index these images again, like ``shopsearch.reindex()``. Returns how many there are."""
        return reindex(self)


class AbstractProductImage(models.Model):
    """A picture of a product. A subclass adds the foreign key ``product``."""

    image = models.ImageField(_("image"), upload_to="products/%Y/%m/", max_length=255)
    alternative_text = models.CharField(_("alternative text"), max_length=255, blank=True)
    position = models.PositiveIntegerField(_("position"), default=0)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = ProductImageQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering = ("position", "pk")
        verbose_name = _("product image")
        verbose_name_plural = _("product images")

    def __str__(self) -> str:
        return self.alternative_text or self.image.name or ""


class ProductImage(AbstractProductImage):
    """shopsearch's own image model. SHOPSEARCH_PRODUCT_MODEL names the model of the product."""

    product = models.ForeignKey(
        PRODUCT_MODEL, models.CASCADE, related_name="images", verbose_name=_("product")
    )

    class Meta(AbstractProductImage.Meta):
        swappable = "SHOPSEARCH_PRODUCT_IMAGE_MODEL"
