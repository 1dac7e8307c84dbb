"""Multimodal product search for Django shops."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shopsearch.indexing.changes import paused, reindex
    from shopsearch.registry import FilterField, ImageIndex, register

__all__ = ["FilterField", "ImageIndex", "paused", "register", "reindex"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # Lazily: naming the package in INSTALLED_APPS must not import what wants the app registry.
    if name == "paused":
        from shopsearch.indexing.changes import paused

        return paused
    if name == "reindex":
        from shopsearch.indexing.changes import reindex

        return reindex
    if name in __all__:
        from shopsearch import registry

        return getattr(registry, name)
    raise AttributeError(f"module 'shopsearch' has no attribute {name!r}")
