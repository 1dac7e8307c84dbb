"""Image indexes: how the images of one model are searched."""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, BinaryIO, Literal, TypeVar, cast, get_args, get_origin

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured, ObjectDoesNotExist
from django.db import InterfaceError, OperationalError, router
from django.db.models import Exists, F, Manager, Model, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone, translation

from shopsearch.registry import analyzer
from shopsearch.registry.keys import keys_from
from shopsearch.telemetry.outages import Outages
from shopsearch.types import FieldType, FilterType, FilterValue, FilterValues

logger = logging.getLogger(__name__)
failures = Outages(logger)
"""What the shop's own code fails at, by what was asked of which row."""
Answer = TypeVar("Answer")
_TYPES: dict[Any, FilterType] = {
    str: "string",
    int: "number",
    float: "number",
    Decimal: "number",
    bool: "boolean",
    list[str]: "strings",
}
SETTLED_AFTER = timedelta(seconds=2)
"""A file's modified time says nothing certain before: FAT counts in steps of two seconds, others in finer ones."""
Aggregate = Literal["", "min", "max", "any", "list"]
_AGGREGATES: dict[str, tuple[FilterType, ...]] = {
    "": ("string", "number", "boolean", "strings"),
    "min": ("string", "number"),
    "max": ("string", "number"),
    "any": ("boolean",),
    "list": ("strings",),
}


@dataclass(frozen=True, slots=True)
class FilterField:
    """A filter's type and its value: a path of attributes from the product, or a function of the product.

    ``FilterField(str, "brand__slug")`` reads ``product.brand.slug``; the default path is the filter's own name.
    ``FilterField(Decimal, price_of)`` calls ``price_of(product)``; name the rows that it reads in ``related``.
    ``label`` is the path to the text that shoppers see: ``FilterField(str, "brand__slug", label="brand__name")``.
    """

    type: Any
    source: str | Callable[[Any], Any] = ""
    label: str = ""
    few_values: bool = False
    """Whether there are only a few hundred distinct values, as of categories: a Milvus server then uses a bitmap."""
    aggregate: Aggregate = ""
    """The value if the path leads to several rows: the "min" or "max" of their numbers or texts, or whether "any" is
    true: ``FilterField(Decimal, "stockrecords__price", aggregate="min")``. A ``list[str]`` has all of them."""
    unit: str = ""
    """How the search page writes a number of it: "$%s", or "%s cm"."""
    swatches: Mapping[str, str] | None = field(default=None, hash=False)
    """The colour that the search page shows beside a value, as CSS writes it: ``{"navy": "#1c2860"}``."""

    @property
    def kind(self) -> FilterType:
        """The type's name in stores. Raises ImproperlyConfigured for a type or aggregate that no filter can have."""
        try:
            return _kind(self.type, self.aggregate)
        except (KeyError, TypeError):
            raise ImproperlyConfigured(
                f"A filter cannot be of type {self.type!r}; use str, int, float, Decimal, bool or list[str]."
            ) from None

    def value_of(self, product: Any, name: str) -> FilterValue | None:
        """The product's value for the filter of this name; None if it has none.

        Raises ImproperlyConfigured if there are several values and no aggregate says which one counts.
        """
        if callable(self.source):
            return typed(self.kind, self.source(product))
        path = self.source or name
        value = follow(product, path)
        if isinstance(value, list | tuple | QuerySet) and self.kind != "strings":
            value = self._aggregated(path, [each for each in value if each is not None])
        return typed(self.kind, value)

    def _aggregated(self, path: str, values: list[Any]) -> Any:
        if self.aggregate == "any":
            return any(values)
        if self.aggregate not in ("min", "max"):
            raise ImproperlyConfigured(
                f"{path!r} leads to several values; say which one counts, such as "
                f"FilterField({self.type.__name__}, {path!r}, aggregate="
                f"{'any' if self.kind == 'boolean' else 'min'!r})."
            )
        return (min if self.aggregate == "min" else max)(values, default=None)


class ImageIndex:
    """How the images of one model are indexed and shown. Subclass it and ``@register(TheModel)`` the subclass."""

    image_field = "image"
    """The model's file field."""
    product_field = "product"
    """The model's foreign key to the product; "" if a row of the model is itself the product."""
    variant_of = ""
    """The product's foreign key, such as "parent", to the product that it is a variant of: the images of variants count
    as that product's. Every path begins at that product, so the variants are one of its relations."""
    filters: Mapping[str, Any] = {}
    """Filters by name: ``{"category": str, "price": Decimal, "brand": FilterField(str, "brand__name")}``."""
    partition_by = ""
    """The filter of type str, such as "site" or "tenant", that a Milvus collection is partitioned by: a search that
    filters by it reads only that part. In a shop with several tenants, every search should filter by it."""
    text_fields: tuple[str, ...] = ()
    """Paths from the product to words that say what it is, for rerankers."""
    words: tuple[str, ...] = ()
    """Paths from the product to texts for word search: ``("title", "brand__name")``."""
    identifiers: tuple[str, ...] = ()
    """Paths from the product to its names, such as ``("sku", "title")``: an exact match of one ranks first."""
    pictureless = False
    """Whether products without a picture are found too: by words, and never by looks. ``get_product_queryset`` says
    which ones."""
    language: str | tuple[str, ...] = ""
    """The words' language, such as "es"; LANGUAGE_CODE by default. Or several, such as ``("es", "en")``: a query is
    read in its request's language if that is one of them, else in the first. Translated texts and values are read in
    the first."""
    newest = ""
    """Path from the product to its date, such as "created_at", for sorting by newest; "" does not offer that order."""
    related: tuple[str, ...] = ()
    """Paths from the product to further rows that its methods read, such as ``("category__parent",)``; those in
    ``filters`` and ``words`` need not be named. A change of these rows reindexes the product, and they are fetched for
    many products at once."""

    def __init__(self, model: type[Model]) -> None:
        self.model = model

    @property
    def name(self) -> str:
        """``app_label_modelname``: the same in every process, part of the collection's name."""
        return f"{self.model._meta.app_label}_{self.model._meta.model_name}"

    @property
    def database(self) -> str:
        """The alias of the database that its images and their index state are written to."""
        return router.db_for_write(self.model)

    @property
    def product_model(self) -> type[Model]:
        if not self.product_field:
            return self.model
        try:
            related = self.model._meta.get_field(self.product_field).related_model
        except FieldDoesNotExist:
            related = None
        if isinstance(related, str):
            raise ImproperlyConfigured(
                f"{self.model._meta.label}.{self.product_field} belongs to {related!r}, and there is no such model. "
                "Is it spelt so in SHOPSEARCH_PRODUCT_MODEL ('app_label.Model'), and its app in INSTALLED_APPS?"
            )
        if related is None:
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
    def words_languages(self) -> tuple[str, ...]:
        """The languages of the stemmers, such as "en"; "" for a language that has none."""
        declared = (self.language,) if isinstance(self.language, str) else self.language or ("",)
        return tuple(
            dict.fromkeys(analyzer.known_language(each or settings.LANGUAGE_CODE) for each in declared)
        )

    def query_language(self, requested: str) -> str:
        """The language to read a query in, when its request is in this one."""
        language = analyzer.known_language(requested)
        return language if language in self.words_languages else self.words_languages[0]

    @property
    def words_field(self) -> str:
        """The name of the collection's words field, which contains the analyzer's version; "" if there are no words.

        Another language or version is another field; a collection gets it when it is rebuilt from its vectors.
        """
        if not (self.words or self.identifiers):
            return ""
        return f"_words_{analyzer.version_of(self.words_languages)}"

    @property
    def field_types(self) -> dict[str, FieldType]:
        """The fields that a collection keeps of each image: the filters, and the words if any are declared."""
        fields: dict[str, FieldType] = {**self.filter_types}
        if self.partition_by:
            fields[self.partition_by] = "partition"
        if self.words_field:
            fields[self.words_field] = "words"
        return fields

    # What a project may override.

    def get_queryset(self) -> QuerySet[Any]:
        """The images that may be found: those that the default managers of image and product do not hide.

        All others are in no answer and not in the store.
        """
        queryset = self.model._default_manager.all()
        lookups = [lookup for lookup in self.product_lookups if lookup]
        products = self.product_model._default_manager.all()
        if products.query.where:
            for lookup in lookups:
                is_shown = Q(**{f"{lookup}__in": products})
                # What is no variant has no parent to be hidden with.
                queryset = queryset.filter(
                    is_shown | Q(**{lookup: None}) if lookup != self.product_field else is_shown
                )
        return queryset.select_related(*lookups) if lookups else queryset

    def get_product_queryset(self) -> QuerySet[Any]:
        """The products that may be found without a picture, where ``pictureless`` is on: those that the default manager
        does not hide. Override it together with ``get_queryset``.
        """
        if not self.product_field:
            return self.get_queryset()
        products = self.product_model._default_manager.all()
        return products.filter(**{self.variant_of: None}) if self.variant_of else products

    def changes_at(self, now: datetime) -> datetime | None:
        """The first moment after ``now`` when ``get_queryset`` changes by the passing of time alone; None for never.

        For ``filter(product__available_from__lte=timezone.now())`` it is the smallest ``available_from`` after
        ``now``. The workers' sweep calls this and reindexes at that moment.
        """
        return None

    def get_product(self, image: Any) -> Any:
        product = getattr(image, self.product_field) if self.product_field else image
        parent = getattr(product, self.variant_of) if self.variant_of and product is not None else None
        return product if parent is None else parent

    def get_filter_values(self, image: Any) -> dict[str, FilterValue | None]:
        """One typed value per declared filter; None if the product has none."""
        product = self.get_product(image)
        return {name: field.value_of(product, name) for name, field in self.filter_fields.items()}

    def get_file_version(self, image: Any) -> str:
        """What changes when the image's file does, as its storage says it without reading it; "" if nothing is certain.

        Asked only where SHOPSEARCH["TRUST_MODIFIED_TIME"] is on. By default the size and the modified time; "" for a
        storage that does not know them, and for a file that was modified a moment ago: it may be replaced once more
        within the same tick of the storage's clock. Override it where there is something better, such as an ETag.
        """
        file = getattr(image, self.image_field)
        try:
            modified, size = file.storage.get_modified_time(file.name), file.storage.size(file.name)
        except NotImplementedError:
            return ""
        is_settled = timezone.now() - modified >= SETTLED_AFTER
        return f"{modified.isoformat()} {size}" if is_settled else ""

    def get_words(self, product: Any) -> list[str]:
        """The product's texts for word search, from ``words``."""
        return _texts(product, self.words)

    def get_identifiers(self, product: Any) -> list[str]:
        """The product's names, from ``identifiers``."""
        return _texts(product, self.identifiers)

    def get_title(self, product: Any) -> str:
        return str(product)

    def get_text(self, product: Any) -> str:
        """Words that say what the product is, for rerankers: from ``text_fields``, else the title."""
        return " ".join(_texts(product, self.text_fields)) or self.get_title(product)

    def get_url(self, product: Any) -> str:
        """Where a result links to; "" if the product has no page of its own."""
        get_absolute_url = getattr(product, "get_absolute_url", None)
        return str(get_absolute_url()) if get_absolute_url else ""

    def get_picture_url(self, image: Any) -> str:
        """The address of the picture on a result's card."""
        file = getattr(image, self.image_field)
        return str(file.url) if file else ""

    def describe(self, product: Any, image: Any, request: Any = None) -> dict[str, Any]:
        """The product as the REST API and the widget's cards show it; add keys as you need them.

        ``image`` is None for a product without a picture, which only an index that is ``pictureless`` finds.
        ``request`` is the shopper's, for example for their own price; None if there is no shopper, as in an
        evaluation. An override may leave out the argument.
        """
        return {
            "id": product.pk,
            "title": self.get_title(product),
            "url": self.get_url(product),
            "image": "" if image is None else self.get_picture_url(image),
        }

    # Not to be overridden.

    def in_its_language(self) -> AbstractContextManager[None]:
        """The language of everything that a store holds of a product: of filter values and of words.

        Whoever saves, indexes or searches may have another one active. Rows of some apps keep the language that they
        were read in, so they are read inside too.
        """
        first = self.language if isinstance(self.language, str) else next(iter(self.language), "")
        return translation.override(first or settings.LANGUAGE_CODE)

    def filter_values(self, image: Any) -> dict[str, FilterValue | None]:
        """What ``get_filter_values`` returns, with None for infinite numbers and NaN."""
        with self.in_its_language():
            return {name: _finite(value) for name, value in self.get_filter_values(image).items()}

    def known_filter_values(self, image: Any) -> dict[str, FilterValue | None]:
        """What ``filter_values`` returns; nothing where the shop's own code raises, which is logged."""
        nothing: dict[str, FilterValue | None] = {}
        return self.ask_shop("filter values", nothing, self.filter_values, image)

    def get_field_values(self, image: Any) -> dict[str, FilterValue | None]:
        """One value per field of ``field_types``."""
        values = self.filter_values(image)
        if self.partition_by:
            values = values | {self.partition_by: values.get(self.partition_by) or ""}
        if self.words_field:
            values = values | {self.words_field: self.terms_of(self.get_product(image))}
        return values

    def terms_of(self, product: Any) -> str:
        """The terms that the product is found by, as stores keep them."""
        texts, names = self._texts_and_names(product)
        return analyzer.product_terms([*texts, *names], names, *self.words_languages)

    def known_terms_of(self, product: Any) -> str:
        """``terms_of``; "" if reading its words raises, which is logged."""
        return self.ask_shop("words", "", self.terms_of, product)

    def open_image(self, image: Any) -> BinaryIO:
        """The image's file, opened for reading; use it in a ``with`` statement.

        Raises FileNotFoundError if there is no file, and whatever the file storage raises.
        """
        file = getattr(image, self.image_field)
        if not file:
            raise FileNotFoundError(f"The image {image.pk} has no file.")
        return cast("BinaryIO", file.storage.open(file.name, "rb"))

    def existing(self, image_ids: Iterable[object], *, using: str = "") -> set[str]:
        """Which of these images exist in the shop, shown or not; in one query."""
        # By the base manager, because a default manager may hide images.
        rows = self.model._base_manager.using(using or self.database)
        found = rows.filter(pk__in=keys_from(self.model, image_ids))
        return {str(key) for key in found.values_list("pk", flat=True)}

    def entity_id(self, image_id: object) -> str:
        """The entity's key: 32 hexadecimal digits, derived only from the index's name and the image's key."""
        return hashlib.sha256(f"{self.name}\0{image_id}".encode()).hexdigest()[:32]

    def images_of(self, product_ids: Iterable[object], images: QuerySet[Any] | None = None) -> QuerySet[Any]:
        """The images of these products, by key, from ``images`` or else from those that may be found."""
        images = self.get_queryset() if images is None else images
        keys = keys_from(self.product_model, product_ids)
        condition = Q(**{f"{self.product_lookups[0] or 'pk'}__in": keys})
        for lookup in self.product_lookups[1:]:
            condition |= Q(**{f"{lookup}__in": keys})
        return images.filter(condition).order_by("pk")

    @property
    def finds_pictureless(self) -> bool:
        """Whether products without a picture are found: only words find them."""
        return self.pictureless and bool(self.words_field)

    def pictureless_products(self, among: Iterable[object] | None = None) -> QuerySet[Any]:
        """The products that the shop shows, and none of whose pictures it shows; of these keys alone unless None."""
        pictures = self.get_queryset().exclude(**{self.image_field: ""})
        pictures = pictures.exclude(**{f"{self.image_field}__isnull": True})
        is_its_own = Q()
        for lookup in self.product_lookups:
            is_its_own |= Q(**{lookup or "pk": OuterRef("pk")})
        products = self.get_product_queryset().filter(~Exists(pictures.filter(is_its_own)))
        return products if among is None else products.filter(pk__in=keys_from(self.product_model, among))

    def blank_image(self, product: Any) -> Any:
        """A row without a file that stands for the images that the product does not have; it is never saved."""
        return self.model(**{self.product_field: product}) if self.product_field else product

    @property
    def product_lookups(self) -> tuple[str, ...]:
        """The lookups from an image to its product: "" for the image itself, two where there are variants."""
        own = self.product_field
        if not self.variant_of:
            return (own,)
        return (own, f"{own}__{self.variant_of}" if own else self.variant_of)

    @property
    def product_key(self) -> F | Coalesce:
        """An expression for queries of images: the key of the product that each is found as."""
        keys = [f"{lookup}__pk" if lookup else "pk" for lookup in reversed(self.product_lookups)]
        return Coalesce(*keys) if len(keys) > 1 else F(keys[0])

    def described(self, product: Any, image: Any, request: Any = None) -> dict[str, Any]:
        """What ``describe`` returns. If it raises, the error is logged and a minimal description returned.

        So one product does not take down the page that it is on.
        """
        key = (self.name, "description", product.pk)
        try:
            describe = self.describe
            if _takes_request(getattr(describe, "__func__", describe)):
                description = describe(product, image, request=request)
            else:
                description = describe(product, image)
            failures.succeeded(key)
            return description
        except (OperationalError, InterfaceError):  # the database is away: not this product's fault
            raise
        except Exception:
            failures.failed(key, "%s: product %s cannot be described.", self.name, product.pk)
        return {
            "id": product.pk,
            "title": self.title_of(product),
            "url": self.ask_shop("address", "", self.get_url, product),
            "image": "" if image is None else self.picture_url_of(image),
        }

    def product_of(self, image: Any) -> Any:
        """What ``get_product`` returns; None if it raises, which is logged: then no search finds the image."""
        return self.ask_shop("product", None, self._product_or_none, image)

    def _product_or_none(self, image: Any) -> Any:
        try:
            return self.get_product(image)
        except ObjectDoesNotExist:  # it was deleted a moment ago
            return None

    def title_of(self, product: Any) -> str:
        """What ``get_title`` returns; which product it is if that raises, which is logged."""
        title = self.ask_shop("title", "", self.get_title, product)
        return title or f"{product._meta.verbose_name} {product.pk}"

    def picture_url_of(self, image: Any) -> str:
        """What ``get_picture_url`` returns; "" if it raises, which is logged."""
        return self.ask_shop("picture's address", "", self.get_picture_url, image)

    def _texts_and_names(self, product: Any) -> tuple[list[str], list[str]]:
        with self.in_its_language():
            return self.get_words(product), self.get_identifiers(product)

    def text_of(self, product: Any) -> str:
        """What ``get_text`` returns; "" if it raises, which is logged."""
        return self.ask_shop("text", "", self.get_text, product)

    def words_of(self, product: Any) -> tuple[list[str], list[str]]:
        """The texts and the names that the product is found by; none if reading them raises, which is logged."""
        nothing: tuple[list[str], list[str]] = ([], [])
        return self.ask_shop("words", nothing, self._texts_and_names, product)

    def names_of(self, product: Any) -> list[str]:
        """Its title and names, by which it is suggested while typing; none if reading them raises, which is logged."""
        with self.in_its_language():
            return self.ask_shop(
                "names",
                [],
                lambda product: [self.get_title(product), *self.get_identifiers(product)],
                product,
            )

    def labelled_values_of(
        self, image: Any, values: FilterValues | None = None
    ) -> list[tuple[str, str, str]]:
        """Each text that the image's product has for a filter: the filter's name, the value, and its label or "".

        ``values``: its filter values, if they were read. Without those of the partition; none if reading them raises,
        which is logged.
        """
        return self.ask_shop("labels", [], lambda image: list(self._labelled_values(image, values)), image)

    def _labelled_values(self, image: Any, values: FilterValues | None) -> Iterator[tuple[str, str, str]]:
        product = self.get_product(image)
        values = self.filter_values(image) if values is None else values
        for name, declared in self.filter_fields.items():
            value = values.get(name)
            if declared.kind not in ("string", "strings") or name == self.partition_by or not value:
                continue
            labels = labels_of(value, follow(product, declared.label)) if declared.label else {}
            for each in value if isinstance(value, tuple) else (value,):
                yield name, str(each), labels.get(each, "")

    def ask_shop(self, what: str, otherwise: Answer, ask: Callable[[Any], Answer], row: Any) -> Answer:
        """What the shop's own code says of a product or an image; ``otherwise`` if it raises.

        The first time is logged, and the first after it was well again. ``what`` says in the log what was asked.
        """
        key = (self.name, type(row), what, getattr(row, "pk", None))
        try:
            answer = ask(row)
        except (OperationalError, InterfaceError):  # the database is away: not this product's fault
            raise
        except Exception:
            name, (_index, kind, _what, pk) = self.name, key
            failures.failed(key, "%s: the %s of %s %s cannot be read.", name, what, kind.__name__, pk)
            return otherwise
        failures.succeeded(key)
        return answer


@cache
def _takes_request(describe: Callable[..., Any]) -> bool:
    """Whether a project's ``describe`` has the argument ``request``; cached, because every card of a page asks."""
    kinds = inspect.signature(describe).parameters
    return "request" in kinds or any(each.kind is each.VAR_KEYWORD for each in kinds.values())


@cache
def _kind(declared: Any, aggregate: Aggregate) -> FilterType:
    """``FilterField.kind``; cached, because each value of each image asks. Raises KeyError and TypeError as well."""
    kind = _TYPES[list[str] if get_origin(declared) is list and get_args(declared) == (str,) else declared]
    if kind not in _AGGREGATES.get(aggregate, ()):
        raise ImproperlyConfigured(
            f"The aggregate of a filter of type {declared!r} cannot be {aggregate!r}; use 'min' or 'max' "
            "for numbers and texts, 'any' for bool, 'list' for list[str]."
        )
    return kind


def follow(value: Any, path: str) -> Any:
    """The value at the end of a path of attributes: a list if it leads to several rows, None for a missing row.

    A callable at the end is called.
    """
    names = path.split("__")
    for place, name in enumerate(names, start=1):
        if value is None:
            return None
        try:
            value = getattr(value, name)
        except ObjectDoesNotExist:  # the reverse side of a one-to-one without a row
            return None
        if isinstance(value, Manager):
            rows, rest = value.all(), "__".join(names[place:])
            return [each for row in rows for each in _listed(follow(row, rest))] if rest else list(rows)
    return value() if callable(value) else value


def labels_of(value: FilterValue | None, label: Any) -> dict[object, str]:
    """The label of each value: of several, where there are as many of both, in the same order."""
    if not isinstance(value, tuple):
        return {value: str(label or "")}
    given = list(dict.fromkeys(label)) if isinstance(label, list | tuple) else []
    return (
        {one: str(each) for one, each in zip(value, given, strict=True)} if len(given) == len(value) else {}
    )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | QuerySet) else [value]


def _texts(product: Any, paths: Iterable[str]) -> list[str]:
    values = [each for path in paths for each in _listed(follow(product, path))]
    return [text for value in values if value and (text := str(value))]


def typed(kind: FilterType, value: Any) -> FilterValue | None:
    """The value as stores keep it. Raises TypeError or ValueError for a value that they would change."""
    if value is None:
        return None
    if kind in ("strings", "boolean") and isinstance(value, str):
        declared = "list[str]" if kind == "strings" else "bool"
        raise TypeError(f"{declared} is declared, and the value is a text: {value[:60]!r}")
    if kind == "strings":
        return tuple(dict.fromkeys(str(each) for each in value if each is not None))
    if kind == "boolean":
        return bool(value)
    if kind == "string":
        return str(value)
    number = float(value)
    if isinstance(value, int) and number != value:
        raise ValueError(f"{value} is too large to be kept exactly as a number; declare the filter as str")
    return _finite(number)


def _finite(value: FilterValue | None) -> FilterValue | None:
    """The value; None for infinite numbers and NaN, which JSON lacks and no shopper can ask for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
