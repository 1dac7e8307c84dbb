"""A shop that pictures its products in each of the three ways."""

import uuid

from django.db import models

from shopsearch.models import AbstractProductImage


class Category(models.Model):
    name = models.CharField(max_length=50)

    def __str__(self):
        return self.name


class Product(models.Model):
    """Its pictures are shopsearch's own ProductImage: SHOPSEARCH_PRODUCT_MODEL."""

    title = models.CharField(max_length=100)
    category = models.ForeignKey(Category, models.CASCADE, null=True, blank=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    in_stock = models.BooleanField(default=True)
    tags = models.JSONField(default=list, blank=True)
    weight = models.FloatField(null=True, blank=True)
    serial = models.BigIntegerField(null=True, blank=True)
    published = models.BooleanField(default=True)

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        return f"/products/{self.pk}/"


class Named(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        abstract = True

    def __str__(self):
        return self.name


class Country(Named):
    visits = models.IntegerField(default=0)


class Artist(Named):
    country = models.ForeignKey(Country, models.CASCADE, null=True)


class Label(Named):
    pass


class Poster(models.Model):
    title = models.CharField(max_length=100)
    artist = models.ForeignKey(Artist, models.SET_NULL, null=True)
    labels = models.ManyToManyField(Label, related_name="posters")
    rooms = models.ManyToManyField(Country, through="Hanging")
    reprint_of = models.ForeignKey("self", models.CASCADE, null=True, related_name="reprints")

    def __str__(self):
        return self.title

    def sold(self):
        return sum(edition.sold for edition in self.editions.all())


class Hanging(models.Model):
    """Where a poster hangs: a relation that has a model of its own."""

    poster = models.ForeignKey(Poster, models.CASCADE)
    country = models.ForeignKey(Country, models.CASCADE)

    def __str__(self):
        return f"{self.poster} in {self.country}"


class Edition(models.Model):
    poster = models.ForeignKey(Poster, models.CASCADE, related_name="editions")
    sold = models.IntegerField(default=0)

    def __str__(self):
        return f"{self.sold} of {self.poster}"


class Certificate(models.Model):
    """Some posters have one."""

    poster = models.OneToOneField(Poster, models.CASCADE, related_name="certificate")
    number = models.IntegerField()

    def __str__(self):
        return str(self.number)


class PosterImage(AbstractProductImage):
    """The second way: a subclass in the shop's own app."""

    product = models.ForeignKey(Poster, models.CASCADE, related_name="images")


class Artwork(models.Model):
    """The third way: a model that knows nothing of shopsearch and is itself the product."""

    code = models.CharField(max_length=40, primary_key=True)
    original = models.ImageField(upload_to="artwork/")

    def __str__(self):
        return self.code


class Shown(models.Manager):
    """Hides what is removed, as packages for soft deletion do."""

    def get_queryset(self):
        return super().get_queryset().filter(is_removed=False)


class Removable(models.Model):
    is_removed = models.BooleanField(default=False)

    objects = Shown()

    class Meta:
        abstract = True


class Furniture(Removable):
    """A parent of multi-table inheritance, whose key is a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    title = models.CharField(max_length=50)
    set = models.ForeignKey("self", models.CASCADE, null=True)

    def __str__(self):
        return self.title


class Chair(Furniture):
    legs = models.IntegerField(default=4)


class ChairImage(Removable, AbstractProductImage):  # noqa: DJ008
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    product = models.ForeignKey(Chair, models.CASCADE, related_name="images")

    objects = Shown()
