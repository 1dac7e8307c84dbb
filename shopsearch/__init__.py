"""Multimodal product search for Django shops."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shopsearch.models.outbox import paused, reindex
    from shopsearch.registry import FilterField, ImageIndex, register

__all__ = ["FilterField", "ImageIndex", "paused", "register", "reindex"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # Lazy, because INSTALLED_APPS imports this package before the app registry is ready.
    if name not in __all__:
        raise AttributeError(f"module 'shopsearch' has no attribute {name!r}")
    if name in ("paused", "reindex"):
        from shopsearch.models import outbox as module
    else:
        from shopsearch import registry as module  # type: ignore[no-redef]
    return getattr(module, name)
