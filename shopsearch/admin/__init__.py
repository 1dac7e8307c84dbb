"""The admin: the state of search, images, outbox, collections, reranks, queries to judge, synonyms and rules."""

from django.contrib import admin

from shopsearch.admin.collections import AdapterAdmin, CollectionAdmin
from shopsearch.admin.entries import IndexEntryAdmin
from shopsearch.admin.images import ImageAdmin, ProductImageAdminMixin, ProductImageInline
from shopsearch.admin.overview import OverviewAdmin
from shopsearch.admin.queries import EvaluationQueryAdmin
from shopsearch.admin.reranks import RerankAdmin
from shopsearch.admin.rules import RuleAdmin
from shopsearch.admin.synonyms import SynonymAdmin
from shopsearch.models import (
    Adapter,
    Collection,
    EvaluationQuery,
    IndexEntry,
    Overview,
    ProductImage,
    Rerank,
    Rule,
    Synonym,
)

__all__ = [
    "AdapterAdmin",
    "CollectionAdmin",
    "EvaluationQueryAdmin",
    "ImageAdmin",
    "IndexEntryAdmin",
    "OverviewAdmin",
    "ProductImageAdminMixin",
    "ProductImageInline",
    "RerankAdmin",
    "RuleAdmin",
    "SynonymAdmin",
]

admin.site.register(Adapter, AdapterAdmin)
admin.site.register(Collection, CollectionAdmin)
admin.site.register(EvaluationQuery, EvaluationQueryAdmin)
admin.site.register(IndexEntry, IndexEntryAdmin)
admin.site.register(Overview, OverviewAdmin)
admin.site.register(Rerank, RerankAdmin)
admin.site.register(Rule, RuleAdmin)
admin.site.register(Synonym, SynonymAdmin)
if not ProductImage._meta.swapped:
    admin.site.register(ProductImage, ImageAdmin)
