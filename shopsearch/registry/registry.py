"""The registered indexes, by model and by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from django.utils.module_loading import autodiscover_modules

from shopsearch.registry.index import ImageIndex

_indexes: dict[type[Model], ImageIndex] = {}
_default: type[ImageIndex] = ImageIndex
IndexClass = TypeVar("IndexClass", bound=type[ImageIndex])


def register(*models: type[Model]) -> Callable[[IndexClass], IndexClass]:
    """Declare how these models' images are searched. Touches neither the database nor the vector store."""

    def decorate(index_class: IndexClass) -> IndexClass:
        for model in models:
            if model in _indexes:
                raise ImproperlyConfigured(f"{model._meta.label} is registered with shopsearch already.")
            _indexes[model] = index_class(model)
        return index_class

    return decorate


def register_default(index_class: type[ImageIndex]) -> None:
    """Set the index of the product image model if the project registers none: for apps that know the shop's models."""
    global _default
    _default = index_class


def unregister(model: type[Model]) -> None:
    """Forget a model's index; for tests, and to replace the one that shopsearch registers by itself."""
    _indexes.pop(model, None)


def get_indexes() -> list[ImageIndex]:
    """All registered indexes, sorted by name."""
    return sorted(_indexes.values(), key=lambda index: index.name)


def databases() -> list[str]:
    """The aliases of the databases that the indexed models are written to; changes are noted there too."""
    return sorted({index.database for index in _indexes.values()})


def get_index(name: str = "") -> ImageIndex:
    """The index of this name; by default the only index, or that of the project's product image model.

    Raises ImproperlyConfigured if there is none.
    """
    indexes = {index.name: index for index in get_indexes()}
    if not name and len(indexes) > 1:
        name = index_for(get_product_image_model()).name
    if not name and indexes:
        return next(iter(indexes.values()))
    if name not in indexes:
        raise ImproperlyConfigured(
            f"No image index is named {name!r}; registered are: {', '.join(indexes) or 'none'}."
        )
    return indexes[name]


def find_index(name: str) -> ImageIndex | None:
    """The index of this name; None if the project has none, or no longer has it."""
    return next((index for index in _indexes.values() if index.name == name), None)


def index_for(model: type[Model]) -> ImageIndex:
    """The index of this model, or of a proxy of the same table. Raises ImproperlyConfigured if there is none."""
    table = model._meta.concrete_model
    kin = (index for known, index in _indexes.items() if known._meta.concrete_model is table)
    index = _indexes.get(model) or next(kin, None)
    if index is None:
        raise ImproperlyConfigured(f"{model._meta.label} is not registered with shopsearch.")
    return index


def get_product_image_model() -> type[Model]:
    """The model that SHOPSEARCH_PRODUCT_IMAGE_MODEL names, by default shopsearch's own ProductImage.

    Raises ImproperlyConfigured if there is no such model.
    """
    name = getattr(settings, "SHOPSEARCH_PRODUCT_IMAGE_MODEL", "shopsearch.ProductImage")
    try:
        return apps.get_model(name)
    except (LookupError, ValueError) as error:
        raise ImproperlyConfigured(
            f"SHOPSEARCH_PRODUCT_IMAGE_MODEL = {name!r} names no model; write it as 'app_label.ModelName'."
        ) from error


def autodiscover() -> None:
    """Import each app's ``image_indexes``; then register the product image model unless one of them did."""
    autodiscover_modules("image_indexes")
    model = get_product_image_model()
    if model not in _indexes:
        register(model)(_default)
