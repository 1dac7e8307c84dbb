"""Answer a query: by words, by picture, by both, or by a product of the shop."""

from typing import TYPE_CHECKING

from shopsearch import modules_of

if TYPE_CHECKING:
    from shopsearch.search import diagnosis, engine, examples, request, rule_files, rules, synonyms
    from shopsearch.search.engine import search, similar

__all__ = [
    "diagnosis",
    "engine",
    "examples",
    "request",
    "rule_files",
    "rules",
    "search",
    "similar",
    "synonyms",
]
__getattr__ = modules_of(__name__, search="engine", similar="engine")
