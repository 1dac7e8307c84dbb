"""The admin: images with their thumbnails and index states, the outbox, and the receipts of reranks."""

from django.contrib import admin

from shopsearch.admin.entries import IndexEntryAdmin
from shopsearch.admin.images import ImageAdmin, ProductImageAdminMixin, ProductImageInline
from shopsearch.admin.reranks import RerankAdmin
from shopsearch.models import IndexEntry, ProductImage, Rerank

__all__ = ["ImageAdmin", "IndexEntryAdmin", "ProductImageAdminMixin", "ProductImageInline", "RerankAdmin"]

admin.site.register(IndexEntry, IndexEntryAdmin)
admin.site.register(Rerank, RerankAdmin)
if not ProductImage._meta.swapped:
    admin.site.register(ProductImage, ImageAdmin)
