"""Collections: which ones an index has in the vector store, which one is live, and what each holds."""

from __future__ import annotations

from typing import NamedTuple, Self

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from shopsearch import registry
from shopsearch.models.indexed import IndexedQuerySet
from shopsearch.types import CollectionSchema


class CollectionQuerySet(IndexedQuerySet["Collection"]):
    """Collections by state. An index has at most one live collection and one unfinished one."""

    def live(self) -> Self:
        """The collections that answer searches."""
        return self.filter(state=Collection.State.LIVE)

    def building(self) -> Self:
        """The collections that are being filled now."""
        return self.filter(state=Collection.State.BUILDING)

    def unfinished(self) -> Self:
        """The collections that are being filled, or paused."""
        return self.filter(state__in=(Collection.State.BUILDING, Collection.State.PAUSED))

    def retired(self) -> Self:
        """The collections that are kept for a rollback; the one that was live last comes first."""
        return self.filter(state=Collection.State.RETIRED).order_by("-live_at")


class Collection(models.Model):
    """A collection of an index in the vector store.

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
    """The fields that it was made with: name -> type."""
    state = models.CharField(_("state"), max_length=10, choices=State.choices)
    total = models.PositiveIntegerField(_("total"), default=0)
    """How many images the index had when the filling began."""
    cursor = models.BigIntegerField(_("cursor"), default=0)
    """The entries up to this key have been handed to the workers, to be written to this collection too."""
    ceiling = models.BigIntegerField(_("ceiling"), default=0)
    """A worker that takes an entry above this key already knows of this collection."""
    generation = models.PositiveIntegerField(_("generation"), default=1, editable=False)
    """How many times it has been filled. A rollback increments it, so that every image is checked again."""
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    begun_at = models.DateTimeField(_("begun at"), db_default=Now())
    """When its filling began or was resumed."""
    begun_with = models.PositiveIntegerField(_("begun with"), default=0)
    """How many images it had at ``begun_at``."""
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
        """A queryset of its row, to read or change it; empty once it is dropped."""
        return Collection.objects.using(self._state.db).filter(pk=self.pk)

    @property
    def schema(self) -> CollectionSchema:
        """The schema by which a store that has lost the collection makes it again.

        Which filters have few values is taken from the current declaration.
        """
        index = registry.find_index(self.index)
        declared = index.filter_fields.items() if index else ()
        few_values = frozenset(name for name, field in declared if field.few_values and name in self.fields)
        return CollectionSchema(dimension=self.dimension, fields=self.fields, few_values=few_values)

    @property
    def is_live(self) -> bool:
        return self.state == self.State.LIVE

    @property
    def stored(self) -> StoredImageQuerySet:
        """The images that it holds, as far as they were checked since its filling began."""
        rows = StoredImage.objects.using(self._state.db)
        return rows.filter(collection=self, generation=self.generation)


class Overview(Collection):
    """The admin's page about the state of search; it has no rows of its own."""

    class Meta:
        proxy = True
        verbose_name = _("Shop search")
        verbose_name_plural = _("Shop search")
        default_permissions = ("view",)


class Hashes(NamedTuple):
    """Digests of what an entity was made from."""

    image: str
    """The digest of the image's file."""
    fields: str
    """The digest of the product's key and the filter values as the collection has them."""


class StoredImageQuerySet(models.QuerySet["StoredImage"]):
    """Stored images by what is known about them."""

    def known(self) -> Self:
        """The images whose entity is known for certain."""
        return self.exclude(image_hash="")

    def orphaned(self) -> Self:
        """The images of collections that were dropped."""
        return self.filter(~models.Exists(Collection.objects.filter(pk=models.OuterRef("collection_id"))))


class StoredImage(models.Model):
    """What a collection holds of an image. Only the worker that has claimed the entry writes it.

    While the entity is being written, the hashes are empty, which means unknown: a worker that dies at that moment
    leaves no hash that belongs to another picture.
    """

    entry = models.ForeignKey("shopsearch.IndexEntry", models.CASCADE, related_name="stored")
    # Without a constraint: dropping a collection is one quick statement, and these rows are deleted later in chunks.
    collection = models.ForeignKey(
        Collection, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    generation = models.PositiveIntegerField(_("generation"))
    """The collection's generation when the image was last checked."""
    image_hash = models.CharField(_("image hash"), max_length=64, blank=True)
    fields_hash = models.CharField(_("fields hash"), max_length=64, blank=True)
    file_version = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    """A digest of the file's name, its version and this hash; "" if unknown. See TRUST_MODIFIED_TIME."""

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
