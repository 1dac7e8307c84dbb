from django.db import models
from parler.models import TranslatableModel, TranslatedFields

from shopsearch.models import AbstractProductImage


class Kind(models.Model):
    slug = models.SlugField()
    name = models.CharField(max_length=50)

    def __str__(self):
        return self.name


class Lamp(models.Model):
    """By django-modeltranslation: a column for each language."""

    title = models.CharField(max_length=50)
    material = models.CharField(max_length=50)
    kind = models.ForeignKey(Kind, models.CASCADE)

    def __str__(self):
        return self.title


class LampImage(AbstractProductImage):
    product = models.ForeignKey(Lamp, models.CASCADE, related_name="images")


class Vase(TranslatableModel):
    """By django-parler: a row for each language."""

    translations = TranslatedFields(
        title=models.CharField(max_length=50), glaze=models.CharField(max_length=50)
    )


class VaseImage(AbstractProductImage):
    product = models.ForeignKey(Vase, models.CASCADE, related_name="images")
