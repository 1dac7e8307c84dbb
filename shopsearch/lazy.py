"""Modules that are imported when they are first named, so that a project starts without them: see docs/why.md."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def modules_of(package: str, **homes: str) -> Callable[[str], Any]:
    """A ``__getattr__`` for this package: ``search.rules`` imports ``shopsearch.search.rules`` when it is first read.

    ``homes`` says which module has a name that the package itself hands on.
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
