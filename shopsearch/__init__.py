"""Multimodal product search for Django shops."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shopsearch.models.outbox import paused, reindex
    from shopsearch.registry import FilterField, ImageIndex, register

__all__ = ["FilterField", "ImageIndex", "modules_of", "paused", "register", "reindex"]
__version__ = "0.1.0"


def modules_of(package: str, **homes: str) -> Callable[[str], Any]:
    """A ``__getattr__`` for a package whose modules are imported when they are first named: see docs/why.md.

    With it, ``search.rules`` imports ``shopsearch.search.rules``. ``homes`` says which module has a name that the
    package itself hands on.
    """

    def attribute(name: str) -> Any:
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        module = f"{package}.{name}"
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:  # it is there, and misses something itself
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None

    return attribute


# INSTALLED_APPS imports this package before the app registry is ready.
__getattr__ = modules_of(
    __name__,
    FilterField="registry",
    ImageIndex="registry",
    register="registry",
    paused="models.outbox",
    reindex="models.outbox",
)
