"""The admin: images with their thumbnails and index states, and the outbox to read and to set going again."""

from django.contrib import admin

from shopsearch.admin.entries import IndexEntryAdmin
from shopsearch.admin.images import ImageAdmin, ProductImageAdminMixin, ProductImageInline
from shopsearch.models import IndexEntry, ProductImage

__all__ = ["ImageAdmin", "IndexEntryAdmin", "ProductImageAdminMixin", "ProductImageInline"]

admin.site.register(IndexEntry, IndexEntryAdmin)
if not ProductImage._meta.swapped:
    admin.site.register(ProductImage, ImageAdmin)
