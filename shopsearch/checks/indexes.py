"""Checks of the registered image indexes: E004, E005, E008, W011, W015."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import router
from django.db.models import AutoField, BigAutoField, BigIntegerField, FileField, ForeignKey, Model

from shopsearch import registry
from shopsearch.backends import get_vector_store
from shopsearch.models import Change
from shopsearch.registry import ImageIndex
from shopsearch.registry.index import FilterField
from shopsearch.registry.paths import End, fault_in
from shopsearch.registry.relations import relation, relations_of
from shopsearch.search.columns import place_of

PARAMETERS = (
    *("box", "collect", "correct", "examples", "facets", "format", "image", "image_url", "image_weights"),
    *("index", "like", "limit", "offset", "page", "picture", "q", "rerank", "similar", "sort", "unlike"),
)
"""The API's and the search page's own."""
RESERVED = (*PARAMETERS, "id", "image_id", "product_id", "vector")  # the last four: what every entity has


def check_indexes() -> Iterator[CheckMessage]:
    for index in registry.get_indexes():
        yield from _check_fields(index)
        yield from _check_filters(index)
        yield from _check_words(index)
        yield from _check_databases(index)


def check_unloaded() -> Iterator[CheckMessage]:
    """Whether a package beside the project's own has an image_indexes.py that no installed app loads."""
    root = importlib.import_module(str(settings.ROOT_URLCONF).partition(".")[0])
    project = Path(getattr(root, "__file__", None) or "").parent
    found = {project, *project.parent.iterdir()} if (project / "__init__.py").exists() else set()
    loaded = {Path(app.path).resolve() for app in apps.get_app_configs()}
    for folder in sorted(found):
        if (folder / "image_indexes.py").is_file() and folder.resolve() not in loaded:
            yield CheckWarning(
                f"{folder.name}/image_indexes.py is not loaded, because the package is not an installed app.",
                hint=f"Add {folder.name!r} to INSTALLED_APPS, or move the file into an installed app.",
                id="shopsearch.W015",
            )


def _check_fields(index: ImageIndex) -> Iterator[CheckMessage]:
    def wrong(message: str, hint: str) -> CheckMessage:
        return Error(f"{type(index).__name__}.{message}", hint=hint, obj=index.model, id="shopsearch.E004")

    options = index.model._meta
    if not isinstance(_field(index.model, index.image_field), FileField):
        files = ", ".join(field.name for field in options.fields if isinstance(field, FileField))
        yield wrong(
            f"image_field: {options.label} has no file field {index.image_field!r}.",
            f"Its file fields: {files or 'none'}.",
        )
    if index.product_field and not isinstance(_field(index.model, index.product_field), ForeignKey):
        keys = ", ".join(field.name for field in options.fields if isinstance(field, ForeignKey))
        yield wrong(
            f"product_field: {options.label} has no foreign key {index.product_field!r}.",
            f'Its foreign keys: {keys or "none"}. Where a row is itself the product, set product_field = "".',
        )
    product = _product_model(index)
    if index.variant_of and product:
        key = _field(product, index.variant_of)
        if not (isinstance(key, ForeignKey) and key.related_model is product):
            yield wrong(
                f"variant_of: {product._meta.label} has no foreign key {index.variant_of!r} to itself.",
                "Name the key from a variant to its product: 'parent'.",
            )
    for name, method in (
        ("text_fields", "get_text"),
        ("words", "get_words"),
        ("identifiers", "get_identifiers"),
    ):
        if getattr(type(index), method) is not getattr(ImageIndex, method):
            continue
        for path in getattr(index, name):
            if fault := fault_in(_product_model(index), path, "texts", several=True):
                yield wrong(
                    f"{name}: {fault.message}.",
                    fault.hint or "Name paths from the product to its texts: 'title', 'brand__name'.",
                )
    if index.pictureless:
        own = type(index)
        if not index.words_field:
            yield wrong(
                "pictureless: only words find a product without a picture, and there are none.",
                "Declare words or identifiers.",
            )
        if own.get_product_queryset is ImageIndex.get_product_queryset and index.product_field:
            for name in ("get_queryset", "get_product"):
                if getattr(own, name) is not getattr(ImageIndex, name):
                    yield wrong(
                        f"pictureless: {name} is overridden, so it is unknown which products the shop shows.",
                        "Override get_product_queryset as well: the products that may be found without a picture.",
                    )
    if index.partition_by and index.filter_types.get(index.partition_by) != "string":
        yield wrong(
            f"partition_by: there is no filter {index.partition_by!r} of type str.",
            f'Declare it: filters = {{"{index.partition_by}": FilterField(str, "path__from__the__product")}}.',
        )
    if index.newest and (fault := fault_in(_product_model(index), index.newest, "string")):
        yield wrong(
            f"newest: {fault.message}.",
            fault.hint or "Name the path from the product to the time when it was added: 'created_at'.",
        )
    for path in index.related:
        if missing := _unrelated(_product_model(index), path):
            yield wrong(
                f"related: {missing}.",
                "Name paths of foreign keys and many-to-many fields from the product: 'brand', 'brand__country'.",
            )


def _check_databases(index: ImageIndex) -> Iterator[CheckMessage]:
    """Whether a row and its change are written in one transaction, in the database that has the index's tables."""

    def wrong(message: str, database: str) -> CheckMessage:
        return Error(
            message,
            hint=f"In the project's router, return {database!r} from db_for_read and db_for_write, and True from "
            f'allow_migrate({database!r}, …), where app_label == "shopsearch"; then run '
            f"`manage.py migrate --database {database}`.",
            obj=index.model,
            id="shopsearch.E008",
        )

    own, label = index.database, index.model._meta.label
    if not router.allow_migrate_model(own, Change):
        yield wrong(
            f"{label} is written to {own!r}, but the router keeps shopsearch's tables out of {own!r}: its changes "
            "cannot be noted.",
            own,
        )
    with suppress(ImproperlyConfigured):  # E004 says so
        models = dict.fromkeys([index.product_model, *(each.model for each in relations_of(index))])
        for model in models:
            if (database := router.db_for_write(model)) != own:
                yield wrong(
                    f"{model._meta.label} is written to {database!r}, but {label} to {own!r}: one query cannot read "
                    "both, so no change of the first is noted.",
                    database,
                )
                return


def _check_words(index: ImageIndex) -> Iterator[CheckMessage]:
    if index.words_field and not _has_full_text():
        yield CheckWarning(
            f"{type(index).__name__} declares words, but the vector store can only search by vectors.",
            hint="Use a vector store with full text, such as Milvus 2.5 or later; or remove words and identifiers.",
            obj=index.model,
            id="shopsearch.W011",
        )


def _has_full_text() -> bool:
    try:
        return get_vector_store().full_text
    except ImproperlyConfigured:  # another check says so
        return True


def _check_filters(index: ImageIndex) -> Iterator[CheckMessage]:
    finds_its_own_way = type(index).get_filter_values is not ImageIndex.get_filter_values
    product = None if finds_its_own_way else _product_model(index)
    for name, field in index.filter_fields.items():

        def wrong(message: str, hint: str, name: str = name) -> CheckMessage:
            where = f"{type(index).__name__}.filters[{name!r}]"
            return Error(f"{where}: {message}.", hint=hint, obj=index.model, id="shopsearch.E005")

        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or "__" in name or name in RESERVED:
            yield wrong(
                "a filter cannot have this name",
                "Use lower-case letters, digits and single underscores, beginning with a letter, and none of: "
                f"{', '.join(RESERVED)}. With FilterField(type, 'path'), a filter's name may differ from its field's.",
            )
        try:
            end: End = field.kind
        except ImproperlyConfigured as error:
            end = "anything"
            yield wrong("its type cannot be filtered by", str(error))
        several = bool(field.aggregate) or end in ("strings", "anything")
        if field.label and (fault := fault_in(product, field.label, "string", several=end == "strings")):
            hint = fault.hint or "Name the path to the text that shoppers see: label='brand__name'."
            yield wrong(fault.message, hint)
        path = field.source or name
        if isinstance(path, str) and (fault := fault_in(product, path, end, several=several)):
            hint = (
                fault.hint or "Name the path from the product to the value: FilterField(str, 'brand__name')."
            )
            yield wrong(fault.message, hint)
        elif product and (unfit := _unfit(index, field, path)):
            yield wrong(*unfit)


def _unfit(index: ImageIndex, declared: FilterField, path: object) -> tuple[str, str] | None:
    """What the declared type would lose of this column's values, and what to do; None where nothing."""
    place = place_of(index, path) if isinstance(path, str) else None
    column = place.field if place else None
    with suppress(ImproperlyConfigured):
        is_long = isinstance(column, BigIntegerField) and not isinstance(column, AutoField | BigAutoField)
        if is_long and declared.type is int:
            return (
                "a column of 64 bits is declared as int, but numbers from 2^53 on cannot be told apart",
                "Declare ids as str, which is exact. Declare an amount as float: an image whose number cannot be "
                "stored exactly is FAILED.",
            )
    return None


def _field(model: type[Model], name: str) -> object:
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return None


def _product_model(index: ImageIndex) -> type[Model] | None:
    """None where it is unknown: it is declared wrongly, or the project has its own ``get_product``."""
    if type(index).get_product is not ImageIndex.get_product:
        return None
    try:
        return index.product_model
    except ImproperlyConfigured:
        return None


def _unrelated(model: type[Model] | None, path: str) -> str:
    """Which part of the path is not a relation, as a sentence; "" where all parts are."""
    for name in path.split("__"):
        if model is None:
            return ""
        field = relation(model, name)
        if field is None:
            return f"{model._meta.label} has no relation {name!r} to follow"
        model = field.related_model
    return ""
