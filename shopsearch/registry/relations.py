"""Relations: the related rows that an index reads, and how to get from the images to them and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignObjectRel, Model, QuerySet, prefetch_related_objects

from shopsearch.registry import ImageIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One step of a declared path, from a row of one model to rows of another."""

    source: str
    """The lookup from the image to the step's start, such as ``product``; "" for the image itself."""
    lookup: str
    """The lookup from the image to the step's end, such as ``product__category``."""
    attribute: str
    """The same as a path of attributes, where a reverse relation may have another name: ``product__edition_set``."""
    field: Any
    """Django's field, forward or reverse."""
    model: type[Model]
    """The model of the rows at the step's end."""
    attributes: frozenset[str] | None
    """The columns that are read of those rows; None if any may be."""

    @property
    def may_leave(self) -> bool:
        """Whether the rows at the step's end have the foreign key, so that one may move to another product."""
        return _leaves(self.field)

    @property
    def is_reverse(self) -> bool:
        """Whether the field is declared on the model at the step's end."""
        return isinstance(self.field, ForeignObjectRel)

    def reads(self, names: frozenset[str] | None) -> bool:
        """Whether any of these fields is read; None stands for all fields."""
        return names is None or self.attributes is None or bool(self.attributes & names)


def relations_of(index: ImageIndex) -> list[Relation]:
    """Every relation in the index's declared paths, each once. What cannot be followed is left out."""
    found: dict[str, Relation] = {}
    paths = [
        path for name, field in index.filter_fields.items() if isinstance(path := field.source or name, str)
    ]
    for path in [*paths, *index.words, *index.identifiers, *index.related]:
        for start in index.product_lookups:
            for relation in _steps(index, start, path):
                known = found.get(relation.lookup)
                found[relation.lookup] = relation if known is None else _merged(known, relation)
    return list(found.values())


def with_related(index: ImageIndex, images: QuerySet[Any]) -> QuerySet[Any]:
    """The images with the rows that the declared paths lead to, in one query per relation instead of per image."""
    if type(index).get_product is not ImageIndex.get_product:
        return images  # get_product is the project's, so it is unknown where the paths begin
    own = [lookup for lookup in index.product_lookups if lookup]
    return images.prefetch_related(*own, *(relation.attribute for relation in relations_of(index)))


def images_at(index: ImageIndex, lookup: str, pks: Iterable[object], using: str) -> QuerySet[Any]:
    """The images whose lookup leads to one of these rows, by key, since the rows may come as their parents.

    Raises FieldError, ValidationError or ValueError for a lookup or keys that the models do not have.
    """
    # The base manager: a default manager may hide just those images that the index has to forget.
    images = index.model._base_manager.using(using)
    path = f"{lookup}__pk__in" if lookup else "pk__in"
    return images.filter(**{path: list(pks)}).distinct()


def products_at(index: ImageIndex, lookup: str, pks: Iterable[object], using: str) -> QuerySet[Any]:
    """The products without a picture that are related to these rows as images are by this lookup.

    Raises FieldError, ValidationError or ValueError for a lookup or keys that the models do not have.
    """
    starts = [each for each in index.product_lookups if not each or f"{lookup}__".startswith(f"{each}__")]
    path = lookup[len(max(starts, key=len)) :].removeprefix("__") if starts else lookup
    products = index.pictureless_products().using(using)
    return products.filter(**{f"{path}__pk__in" if path else "pk__in": list(pks)}).distinct()


def blank_images(index: ImageIndex, products: Iterable[Any]) -> list[Any]:
    """A blank image of each product, with the rows that the declared paths lead to."""
    images = [index.blank_image(product) for product in products]
    own = index.product_field
    prefetch_related_objects(
        images,
        *(each.attribute for each in relations_of(index) if not own or each.attribute.startswith(f"{own}__")),
    )
    return images


def relation(model: type[Model], name: str) -> Any:
    """The model's relation of this name, forward or reverse; None if there is none that can be followed."""
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        others = model._meta.related_objects
        field = next((other for other in others if other.get_accessor_name() == name), None)
    return field if field is not None and isinstance(field.related_model, type) else None


def _leaves(field: Any) -> bool:
    return bool(field.one_to_many or (field.one_to_one and isinstance(field, ForeignObjectRel)))


def _steps(index: ImageIndex, start: str, path: str) -> Iterator[Relation]:
    model, lookup, attribute = index.product_model, start, start
    names = path.split("__")
    for place, name in enumerate(names):
        field = relation(model, name)
        if field is None:
            return
        source, lookup = lookup, f"{lookup}__{field.name}" if lookup else field.name
        own: Any = field.get_accessor_name() if isinstance(field, ForeignObjectRel) else field.name
        attribute = f"{attribute}__{own}" if attribute else own
        model = field.related_model
        yield Relation(
            source=source,
            lookup=lookup,
            attribute=attribute,
            field=field,
            model=model,
            # If the row has the foreign key, that column matters too.
            attributes=None if _leaves(field) else _attributes(model, names[place + 1 : place + 2]),
        )


def _attributes(model: type[Model], names: list[str]) -> frozenset[str] | None:
    """The columns of the attribute that is read next; None for the row itself, a property or a method."""
    for name in names:
        try:
            field: Any = model._meta.get_field(name)
        except FieldDoesNotExist:
            return None
        return frozenset({field.name, field.attname}) if field.concrete and not field.many_to_many else None
    return None


def _merged(one: Relation, other: Relation) -> Relation:
    if one.attributes is None or other.attributes is None:
        return replace(one, attributes=None)
    return replace(one, attributes=one.attributes | other.attributes)
