"""The models: product images, the outbox, collections, adapters, reranks, and queries with their judgements."""

from shopsearch.models.adapters import Adapter
from shopsearch.models.collections import Collection, Hashes, Overview, StoredImage
from shopsearch.models.evaluation import Calibration, EvaluationQuery, Judgement, SearchDay
from shopsearch.models.images import PRODUCT_MODEL, AbstractProductImage, ProductImage, ProductImageQuerySet
from shopsearch.models.outbox import Change, IndexEntry
from shopsearch.models.reranks import Rerank
from shopsearch.models.vector_cache import CachedVector

__all__ = [
    "PRODUCT_MODEL",
    "AbstractProductImage",
    "Adapter",
    "CachedVector",
    "Calibration",
    "Change",
    "Collection",
    "EvaluationQuery",
    "Hashes",
    "IndexEntry",
    "Judgement",
    "Overview",
    "ProductImage",
    "ProductImageQuerySet",
    "Rerank",
    "SearchDay",
    "StoredImage",
]
