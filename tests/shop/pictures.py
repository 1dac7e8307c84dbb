"""Pictures of one colour, and products that have them."""

import io

from django.core.files.base import ContentFile
from PIL import Image

from shopsearch.models import ProductImage

from .models import Product

RED, GREEN, BLUE = (220, 30, 30), (30, 160, 60), (40, 60, 210)


def picture(colour=RED, name="picture.png", size=(16, 16)):
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, "PNG")
    return ContentFile(content.getvalue(), name)


def product(*colours, **fields):
    """A product with a picture of each colour."""
    made = Product.objects.create(**{"title": "thing"} | fields)
    for colour in colours:
        ProductImage.objects.create(product=made, image=picture(colour))
    return made
