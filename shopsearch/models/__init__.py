"""The models: images, the outbox, collections, adapters, reranks, words, rules, and queries with their judgements."""

from shopsearch.models.adapters import Adapter, Fit
from shopsearch.models.collections import Collection, Hashes, Overview, StoredImage
from shopsearch.models.evaluation import Calibration, EvaluationQuery, Judgement, SearchDay
from shopsearch.models.images import PRODUCT_MODEL, AbstractProductImage, ProductImage, ProductImageQuerySet
from shopsearch.models.outbox import Change, IndexEntry, ProductChange, RelatedChange
from shopsearch.models.pictureless import PicturelessProduct
from shopsearch.models.reranks import Rerank
from shopsearch.models.rules import Rule, RuleAction, RulePicture, RuleVector
from shopsearch.models.synonyms import Synonym
from shopsearch.models.vector_cache import CachedVector
from shopsearch.models.vocabulary import Suggestion, VocabularyWord

__all__ = [
    "PRODUCT_MODEL",
    "AbstractProductImage",
    "Adapter",
    "CachedVector",
    "Calibration",
    "Change",
    "Collection",
    "EvaluationQuery",
    "Fit",
    "Hashes",
    "IndexEntry",
    "Judgement",
    "Overview",
    "PicturelessProduct",
    "ProductChange",
    "ProductImage",
    "ProductImageQuerySet",
    "RelatedChange",
    "Rerank",
    "Rule",
    "RuleAction",
    "RulePicture",
    "RuleVector",
    "SearchDay",
    "StoredImage",
    "Suggestion",
    "Synonym",
    "VocabularyWord",
]
