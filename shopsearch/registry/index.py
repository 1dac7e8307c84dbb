"""Image indexes: how the images of one model are searched."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, BinaryIO, cast, get_args, get_origin

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import InterfaceError, OperationalError, router
from django.db.models import Manager, Model, QuerySet

from shopsearch.registry import analyzer
from shopsearch.registry.keys import keys_from
from shopsearch.types import FieldType, FilterType, FilterValue

logger = logging.getLogger(__name__)
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
    few_values: bool = False
    """Whether there are only some hundred different values, such as categories: a Milvus server keeps a bitmap then."""

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
    partition_by = ""
    """The filter of type str, such as "site" or "tenant", that a Milvus collection is partitioned by: a search that
    filters by it looks into that part alone. Every search of a shop of several tenants should."""
    text_fields: tuple[str, ...] = ()
    """Paths from the product to words that say what it is, for rerankers."""
    words: tuple[str, ...] = ()
    """Paths from the product to the words it is found by, beside its pictures: ``("title", "brand__name")``."""
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
    def database(self) -> str:
        """The alias of the database that its images, and what is known of them, are written to."""
        return router.db_for_write(self.model)

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
        """The language whose stemmer is used, such as "en"; "" for one that has none."""
        return analyzer.known_language(self.language or settings.LANGUAGE_CODE)

    @property
    def words_field(self) -> str:
        """The collection's field of words, named by the analyzer's version as no filter can be; "" without any.

        Another language or version is another field, which a collection has once it is rebuilt from its vectors.
        """
        if not (self.words or self.identifiers):
            return ""
        return f"_words_{analyzer.version_of(self.words_language)}".rstrip("_")

    @property
    def field_types(self) -> dict[str, FieldType]:
        """What a collection keeps of each image: the filters, and the words where any are declared."""
        fields: dict[str, FieldType] = {**self.filter_types}
        if self.partition_by:
            fields[self.partition_by] = "partition"
        if self.words_field:
            fields[self.words_field] = "words"
        return fields

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

    def filter_values(self, image: Any) -> dict[str, FilterValue | None]:
        """What ``get_filter_values`` returns, but no number that is infinite or none at all."""
        return {name: _finite(value) for name, value in self.get_filter_values(image).items()}

    def get_field_values(self, image: Any) -> dict[str, FilterValue | None]:
        """One value per field of ``field_types``."""
        values = self.filter_values(image)
        if self.partition_by:
            values = values | {self.partition_by: values.get(self.partition_by) or ""}
        if self.words_field:
            product = self.get_product(image)
            texts, names = self.get_words(product), self.get_identifiers(product)
            values = values | {
                self.words_field: analyzer.product_terms([*texts, *names], names, self.words_language)
            }
        return values

    def open_image(self, image: Any) -> BinaryIO:
        """The image's file, opened for reading; use it in a ``with``.

        Raises FileNotFoundError where there is none, and whatever the file storage raises.
        """
        file = getattr(image, self.image_field)
        if not file:
            raise FileNotFoundError(f"The image {image.pk} has no file.")
        return cast("BinaryIO", file.storage.open(file.name, "rb"))

    def existing(self, image_ids: Iterable[object], *, using: str = "") -> set[str]:
        """Those of the images that the shop has, shown or not, in one query."""
        # The base manager: a default manager may hide images.
        rows = self.model._base_manager.using(using or self.database)
        found = rows.filter(pk__in=keys_from(self.model, image_ids))
        return {str(key) for key in found.values_list("pk", flat=True)}

    def entity_id(self, image_id: object) -> str:
        """The entity's key: 32 hexadecimal digits that follow from the index's name and the image's key alone."""
        return hashlib.sha256(f"{self.name}\0{image_id}".encode()).hexdigest()[:32]

    def images_of(self, product_ids: Iterable[object], images: QuerySet[Any] | None = None) -> QuerySet[Any]:
        """The images of these products, among those that may be found or among ``images``, by key."""
        images = self.get_queryset() if images is None else images
        keys = keys_from(self.product_model, product_ids)
        return images.filter(**{f"{self.product_field or 'pk'}__in": keys}).order_by("pk")

    def described(self, product: Any, image: Any) -> dict[str, Any]:
        """What ``describe`` returns; where that raises, what can be said without it, and the log has why.

        So one product does not take down the page that it is on.
        """
        try:
            return self.describe(product, image)
        except (OperationalError, InterfaceError):  # the database is away, and not for this product alone
            raise
        except Exception:
            logger.exception("%s: product %s cannot be described.", self.name, product.pk)
        title = _or_empty(lambda: self.get_title(product))
        return {
            "id": product.pk,
            "title": title or f"{product._meta.verbose_name} {product.pk}",
            "url": _or_empty(lambda: self.get_url(product)),
            "image": _or_empty(lambda: self.get_picture_url(image)),
        }

    def text_of(self, product: Any) -> str:
        """What ``get_text`` returns; "" where that raises, and the log has why."""
        try:
            return self.get_text(product)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("%s: product %s has no words.", self.name, product.pk)
            return ""


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
    """The value as stores keep it. Raises TypeError or ValueError for what would be another one there."""
    if value is None:
        return None
    if kind in ("strings", "boolean") and isinstance(value, str):
        declared = "list[str]" if kind == "strings" else "bool"
        raise TypeError(f"{declared} is declared, and the value is a text: {value[:60]!r}")
    if kind == "strings":
        return tuple(map(str, value.all() if isinstance(value, Manager) else value))
    if kind == "boolean":
        return bool(value)
    if kind == "string":
        return str(value)
    number = float(value)
    if isinstance(value, int) and number != value:
        raise ValueError(f"{value} is too large to be kept exactly as a number; declare the filter as str")
    return _finite(number)


def _finite(value: FilterValue | None) -> FilterValue | None:
    """No number that is infinite or none at all: JSON has no such, and no shopper can ask for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _or_empty(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except Exception:  # the log has why already
        return ""
