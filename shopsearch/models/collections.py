"""Which collections of the vector store an index has, which one answers, and what each holds."""

from __future__ import annotations

from typing import NamedTuple, Self

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from shopsearch import registry
from shopsearch.models.indexed import IndexedQuerySet
from shopsearch.types import CollectionSchema


class CollectionQuerySet(IndexedQuerySet["Collection"]):
    """Collections by what they are for. An index has at most one that is live, and one that is unfinished."""

    def live(self) -> Self:
        """Those that answer searches."""
        return self.filter(state=Collection.State.LIVE)

    def building(self) -> Self:
        """Those that are being filled now."""
        return self.filter(state=Collection.State.BUILDING)

    def unfinished(self) -> Self:
        """Those that are being filled, or will be when their pause ends."""
        return self.filter(state__in=(Collection.State.BUILDING, Collection.State.PAUSED))

    def retired(self) -> Self:
        """Those that are kept for a rollback, the last live one first."""
        return self.filter(state=Collection.State.RETIRED).order_by("-live_at")


class Collection(models.Model):
    """One of the vector store's collections of an index.

    Searches read the LIVE one. Changes are written to it and to the one that is BUILDING or PAUSED. A RETIRED one is
    kept for a rollback.
    """

    class State(models.TextChoices):
        BUILDING = "building", _("building")
        PAUSED = "paused", _("paused")
        LIVE = "live", _("live")
        RETIRED = "retired", _("retired")

    index = models.CharField(_("index"), max_length=100)
    name = models.CharField(_("name"), max_length=255, unique=True)
    space = models.CharField(_("space"), max_length=255)
    dimension = models.PositiveIntegerField(_("dimension"))
    fields = models.JSONField(_("fields"), default=dict)
    """The declared filters it was made for: name -> kind."""
    state = models.CharField(_("state"), max_length=10, choices=State.choices)
    total = models.PositiveIntegerField(_("total"), default=0)
    """How many images there were to do when its filling began."""
    cursor = models.BigIntegerField(_("cursor"), default=0)
    """The entries up to this key have been given to the workers, to be written to it too."""
    ceiling = models.BigIntegerField(_("ceiling"), default=0)
    """Whoever takes an entry above this key knows of the collection."""
    generation = models.PositiveIntegerField(_("generation"), default=1, editable=False)
    """How often it was filled. A rollback raises it, so that every image is looked at once more."""
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    begun_at = models.DateTimeField(_("begun at"), db_default=Now())
    """When its filling began, or went on after a pause."""
    begun_with = models.PositiveIntegerField(_("begun with"), default=0)
    """How many images it had then."""
    live_at = models.DateTimeField(_("live at"), null=True, blank=True)

    objects = CollectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("collection")
        verbose_name_plural = _("collections")
        ordering = ("index", "-pk")
        constraints = (
            models.UniqueConstraint(
                fields=("index",), condition=models.Q(state="live"), name="shopsearch_collection_live"
            ),
            models.UniqueConstraint(
                fields=("index",),
                condition=models.Q(state__in=("building", "paused")),
                name="shopsearch_collection_building",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.state}"

    @property
    def row(self) -> CollectionQuerySet:
        """Its row as it is now, to be read or changed; empty once it is dropped."""
        return Collection.objects.using(self._state.db).filter(pk=self.pk)

    @property
    def schema(self) -> CollectionSchema:
        """As it is made anew where the store has lost it; which filters have few values is as it is declared now."""
        index = registry.find_index(self.index)
        declared = index.filter_fields.items() if index else ()
        few_values = frozenset(name for name, field in declared if field.few_values and name in self.fields)
        return CollectionSchema(dimension=self.dimension, fields=self.fields, few_values=few_values)

    @property
    def is_live(self) -> bool:
        return self.state == self.State.LIVE

    @property
    def stored(self) -> StoredImageQuerySet:
        """What it holds, as far as that was looked at since its filling began."""
        rows = StoredImage.objects.using(self._state.db)
        return rows.filter(collection=self, generation=self.generation)


class Overview(Collection):
    """The admin's page that says how search is; it has no rows of its own."""

    class Meta:
        proxy = True
        verbose_name = _("Shop search")
        verbose_name_plural = _("Shop search")
        default_permissions = ("view",)


class Hashes(NamedTuple):
    """What an entity was made from, as digests."""

    image: str
    """Of the image's file."""
    fields: str
    """Of the product's key and the filter values as the collection has them."""


class StoredImageQuerySet(models.QuerySet["StoredImage"]):
    """Stored images by how much is known of them."""

    def known(self) -> Self:
        """Those whose entity is known for certain."""
        return self.exclude(image_hash="")

    def orphaned(self) -> Self:
        """Those of collections that were dropped."""
        return self.filter(~models.Exists(Collection.objects.filter(pk=models.OuterRef("collection_id"))))


class StoredImage(models.Model):
    """What a collection holds of an image. Only the worker that has the entry's claim writes it.

    While the entity is being written, nothing is known of it and the hashes are empty: a worker that dies meanwhile
    leaves no hash that belongs to another picture.
    """

    entry = models.ForeignKey("shopsearch.IndexEntry", models.CASCADE, related_name="stored")
    # Without a constraint: to drop a collection is one quick statement, and its rows go afterwards, a few at a time.
    collection = models.ForeignKey(
        Collection, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    generation = models.PositiveIntegerField(_("generation"))
    """The collection's, when the image was last looked at."""
    image_hash = models.CharField(_("image hash"), max_length=64, blank=True)
    fields_hash = models.CharField(_("fields hash"), max_length=64, blank=True)

    objects = StoredImageQuerySet.as_manager()

    class Meta:
        verbose_name = _("stored image")
        verbose_name_plural = _("stored images")
        constraints = (
            models.UniqueConstraint(fields=("collection", "entry"), name="shopsearch_stored_unique"),
        )

    def __str__(self) -> str:
        return f"{self.entry_id} in {self.collection_id}"

    @property
    def hashes(self) -> Hashes:
        return Hashes(self.image_hash, self.fields_hash)
