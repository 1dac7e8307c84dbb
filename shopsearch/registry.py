"""Image indexes: a project's declaration of how one model's images are searched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar, get_args, get_origin

from django.apps import apps
from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import Manager, Model, QuerySet
from django.utils.module_loading import autodiscover_modules

from shopsearch import words
from shopsearch.types import FieldType, FilterType, FilterValue

_TYPES: dict[Any, FilterType] = {
    str: "string",
    int: "number",
    float: "number",
    Decimal: "number",
    bool: "boolean",
    list[str]: "strings",
}


@dataclass(frozen=True, slots=True)
class FilterField:
    """A filter's type, and where its value is found, as a path of attributes from the product.

    ``FilterField(str, "brand__slug")`` reads ``product.brand.slug``; without a path it is the filter's own name.
    ``label`` is the path to what shoppers read for it: ``FilterField(str, "brand__slug", label="brand__name")``.
    """

    type: Any
    source: str = ""
    label: str = ""

    @property
    def kind(self) -> FilterType:
        try:
            return _TYPES[
                list[str] if get_origin(self.type) is list and get_args(self.type) == (str,) else self.type
            ]
        except (KeyError, TypeError):
            raise ImproperlyConfigured(
                f"A filter cannot be of type {self.type!r}; use str, int, float, Decimal, bool or list[str]."
            ) from None


class ImageIndex:
    """How the images of one model are indexed and shown. Subclass it and ``@register(TheModel)`` the subclass."""

    image_field = "image"
    """The model's file field."""
    product_field = "product"
    """The model's foreign key to the product; "" where a row of the model is itself the product."""
    filters: Mapping[str, Any] = {}
    """Filters by name: ``{"category": str, "price": Decimal, "brand": FilterField(str, "brand__name")}``."""
    text_fields: tuple[str, ...] = ()
    """Paths from the product to words that say what it is, for rerankers."""
    words: tuple[str, ...] = ()
    """Paths from the product to what it is found by in words, beside its pictures: ``("title", "brand__name")``."""
    identifiers: tuple[str, ...] = ()
    """Paths from the product to what it is called, such as ``("sku", "title")``: who searches for one has it first."""
    language: str = ""
    """Of the words, such as "es"; LANGUAGE_CODE without one."""
    newest = ""
    """Path from the product to when it came in, such as "created_at", to sort by; without one, none can."""
    related: tuple[str, ...] = ()
    """Paths from the product to rows that ``get_queryset`` or ``get_filter_values`` read beside those that ``filters``
    names, such as ``("category", "category__parent")``: a change of theirs is followed too."""

    def __init__(self, model: type[Model]) -> None:
        self.model = model

    @property
    def name(self) -> str:
        """``app_label_modelname``: the same in every process, part of the collection's name."""
        return f"{self.model._meta.app_label}_{self.model._meta.model_name}"

    @property
    def product_model(self) -> type[Model]:
        if not self.product_field:
            return self.model
        try:
            related = self.model._meta.get_field(self.product_field).related_model
        except FieldDoesNotExist:
            related = None
        if related is None or isinstance(related, str):
            raise ImproperlyConfigured(
                f"{type(self).__name__}.product_field: {self.model._meta.label} has no foreign key "
                f"{self.product_field!r}."
            )
        return related

    @property
    def filter_fields(self) -> dict[str, FilterField]:
        return {
            name: declared if isinstance(declared, FilterField) else FilterField(declared)
            for name, declared in self.filters.items()
        }

    @property
    def filter_types(self) -> dict[str, FilterType]:
        return {name: field.kind for name, field in self.filter_fields.items()}

    @property
    def words_language(self) -> str:
        """Whose endings are known, such as "en"; "" for any other."""
        return words.known_language(self.language or settings.LANGUAGE_CODE)

    @property
    def words_field(self) -> str:
        """The collection's field of words, named by their language as no filter can be; "" without any."""
        return f"_words_{self.words_language}".rstrip("_") if self.words or self.identifiers else ""

    @property
    def field_types(self) -> dict[str, FieldType]:
        """What a collection keeps of each image: the filters, and the words where any are declared."""
        return {**self.filter_types, **({self.words_field: "words"} if self.words_field else {})}

    # What a project may override.

    def get_queryset(self) -> QuerySet[Any]:
        """The images that may be found. What is not in it is in no answer, and is not kept in the store."""
        queryset = self.model._default_manager.all()
        return queryset.select_related(self.product_field) if self.product_field else queryset

    def get_product(self, image: Any) -> Any:
        return getattr(image, self.product_field) if self.product_field else image

    def get_filter_values(self, image: Any) -> dict[str, FilterValue | None]:
        """One typed value per declared filter; None where the product has none."""
        product = self.get_product(image)
        return {
            name: typed(field.kind, follow(product, field.source or name))
            for name, field in self.filter_fields.items()
        }

    def get_words(self, product: Any) -> list[str]:
        """The texts that the product is found by, from ``words``."""
        return _texts(product, self.words)

    def get_identifiers(self, product: Any) -> list[str]:
        """What the product is called, from ``identifiers``."""
        return _texts(product, self.identifiers)

    def get_title(self, product: Any) -> str:
        return str(product)

    def get_text(self, product: Any) -> str:
        """Words that say what the product is, for rerankers: ``text_fields``, or the title without any."""
        words = (follow(product, path) for path in self.text_fields)
        return " ".join(str(word) for word in words if word) or self.get_title(product)

    def get_url(self, product: Any) -> str:
        """Where a result links to; "" where the product has no page of its own."""
        get_absolute_url = getattr(product, "get_absolute_url", None)
        return str(get_absolute_url()) if get_absolute_url else ""

    def get_picture_url(self, image: Any) -> str:
        """The address of the picture on a result's card."""
        file = getattr(image, self.image_field)
        return str(file.url) if file else ""

    def describe(self, product: Any, image: Any) -> dict[str, Any]:
        """The product as the REST API and the widget's cards show it; add keys as you need them."""
        return {
            "id": product.pk,
            "title": self.get_title(product),
            "url": self.get_url(product),
            "image": self.get_picture_url(image),
        }

    # Not to be overridden.

    def get_field_values(self, image: Any) -> dict[str, FilterValue | None]:
        """One value per field of ``field_types``."""
        values = self.get_filter_values(image)
        if self.words_field:
            product = self.get_product(image)
            texts, names = self.get_words(product), self.get_identifiers(product)
            values = values | {self.words_field: words.kept([*texts, *names], names, self.words_language)}
        return values

    def entity_id(self, image_id: object) -> str:
        """The entity's key: 32 hexadecimal digits that follow from the index's name and the image's key alone."""
        return hashlib.sha256(f"{self.name}\0{image_id}".encode()).hexdigest()[:32]


def follow(value: Any, path: str) -> Any:
    """What is at the end of a path of attributes; what can be called there is called."""
    for attribute in path.split("__"):
        if value is None:
            return None
        value = getattr(value, attribute)
    return value() if callable(value) and not isinstance(value, Manager) else value


def _texts(product: Any, paths: Iterable[str]) -> list[str]:
    texts: list[str] = []
    for value in (follow(product, path) for path in paths):
        several = value.all() if isinstance(value, Manager) else value
        texts += map(str, several if isinstance(several, list | tuple | QuerySet) else [value or ""])
    return [text for text in texts if text]


def typed(kind: FilterType, value: Any) -> FilterValue | None:
    if value is None:
        return None
    if kind == "strings":
        return tuple(map(str, value.all() if isinstance(value, Manager) else value))
    if kind == "boolean":
        return bool(value)
    return float(value) if kind == "number" else str(value)


_indexes: dict[type[Model], ImageIndex] = {}
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


def unregister(model: type[Model]) -> None:
    """Forget a model's index; for tests, and to replace the one that shopsearch registers by itself."""
    _indexes.pop(model, None)


def get_indexes() -> list[ImageIndex]:
    """Every registered index, by name."""
    return sorted(_indexes.values(), key=lambda index: index.name)


def get_index(name: str = "") -> ImageIndex:
    """The index of this name; without one, the only index or that of the project's product image model.

    Raises ImproperlyConfigured when there is none.
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
    """The index of this name; None where the project has none such, or none any more."""
    return next((index for index in _indexes.values() if index.name == name), None)


def index_for(model: type[Model]) -> ImageIndex:
    """The index of this model, or of a proxy of the same table. Raises ImproperlyConfigured when there is none."""
    table = model._meta.concrete_model
    kin = (index for known, index in _indexes.items() if known._meta.concrete_model is table)
    index = _indexes.get(model) or next(kin, None)
    if index is None:
        raise ImproperlyConfigured(f"{model._meta.label} is not registered with shopsearch.")
    return index


def get_product_image_model() -> type[Model]:
    """The model named by SHOPSEARCH_PRODUCT_IMAGE_MODEL: shopsearch's own ProductImage unless the project says else.

    Raises ImproperlyConfigured when it names no model.
    """
    name = getattr(settings, "SHOPSEARCH_PRODUCT_IMAGE_MODEL", "shopsearch.ProductImage")
    try:
        return apps.get_model(name)
    except (LookupError, ValueError) as error:
        raise ImproperlyConfigured(
            f"SHOPSEARCH_PRODUCT_IMAGE_MODEL = {name!r} names no model; write it as 'app_label.ModelName'."
        ) from error


def autodiscover() -> None:
    """Import each app's ``image_indexes``; then register the product image model unless a project did."""
    autodiscover_modules("image_indexes")
    model = get_product_image_model()
    if model not in _indexes:
        register(model)(ImageIndex)
