"""The database's side of search: images, the outbox, collections, reranks, and what search is judged by."""

from shopsearch.models.collections import Collection
from shopsearch.models.evaluation import Calibration, EvaluationQuery, Judgement
from shopsearch.models.images import PRODUCT_MODEL, AbstractProductImage, ProductImage, ProductImageQuerySet
from shopsearch.models.outbox import Change, IndexEntry, KeptVector
from shopsearch.models.reranks import Rerank

__all__ = [
    "PRODUCT_MODEL",
    "AbstractProductImage",
    "Calibration",
    "Change",
    "Collection",
    "EvaluationQuery",
    "IndexEntry",
    "Judgement",
    "KeptVector",
    "ProductImage",
    "ProductImageQuerySet",
    "Rerank",
]
