"""The admin: images with their index states, the outbox, the receipts of reranks, and queries to judge."""

from django.contrib import admin

from shopsearch.admin.entries import IndexEntryAdmin
from shopsearch.admin.images import ImageAdmin, ProductImageAdminMixin, ProductImageInline
from shopsearch.admin.queries import EvaluationQueryAdmin
from shopsearch.admin.reranks import RerankAdmin
from shopsearch.models import EvaluationQuery, IndexEntry, ProductImage, Rerank

__all__ = [
    "EvaluationQueryAdmin",
    "ImageAdmin",
    "IndexEntryAdmin",
    "ProductImageAdminMixin",
    "ProductImageInline",
    "RerankAdmin",
]

admin.site.register(EvaluationQuery, EvaluationQueryAdmin)
admin.site.register(IndexEntry, IndexEntryAdmin)
admin.site.register(Rerank, RerankAdmin)
if not ProductImage._meta.swapped:
    admin.site.register(ProductImage, ImageAdmin)
