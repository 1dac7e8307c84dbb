"""The REST API."""

from typing import TYPE_CHECKING

from shopsearch import modules_of

if TYPE_CHECKING:
    from shopsearch.api import health, metrics, objects, reranks, views

__all__ = ["health", "metrics", "objects", "reranks", "views"]
__getattr__ = modules_of(__name__)
