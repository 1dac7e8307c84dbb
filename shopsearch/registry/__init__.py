"""What a project declares: how the images of its models are searched."""

from shopsearch.registry.index import FilterField, ImageIndex
from shopsearch.registry.registry import (
    autodiscover,
    databases,
    find_index,
    get_index,
    get_indexes,
    get_product_image_model,
    index_for,
    register,
    unregister,
)

__all__ = [
    "FilterField",
    "ImageIndex",
    "autodiscover",
    "databases",
    "find_index",
    "get_index",
    "get_indexes",
    "get_product_image_model",
    "index_for",
    "register",
    "unregister",
]
