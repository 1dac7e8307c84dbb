"""The admin sites of the tests, and what staff do there."""

from io import BytesIO

from django.contrib import admin
from django.core.files.base import ContentFile
from django.urls import path, reverse
from PIL import Image

from shopsearch.admin import IndexEntryAdmin, ProductImageAdminMixin, ProductImageInline
from shopsearch.indexing import batch, outbox
from shopsearch.models import IndexEntry, ProductImage
from shopsearch.registry import index_for
from tests.shop.models import Artwork, PosterImage, Product

IMAGES = "admin:shopsearch_productimage_changelist"
ENTRIES = "admin:shopsearch_indexentry_changelist"

site = admin.AdminSite(name="staff")
"""A site of the shop's own, with its own image models, and its products with their images."""
site.register(IndexEntry, IndexEntryAdmin)
site.register(PosterImage, type("PosterImageAdmin", (ProductImageAdminMixin, admin.ModelAdmin), {}))
site.register(Artwork, type("ArtworkAdmin", (ProductImageAdminMixin, admin.ModelAdmin), {}))
site.register(Product, type("ProductAdmin", (admin.ModelAdmin,), {"inlines": [ProductImageInline]}))
urlpatterns = [path("admin/", admin.site.urls), path("staff/", site.urls)]


def picture(colour="red"):
    content = BytesIO()
    Image.new("RGB", (40, 40), colour).save(content, "PNG")
    return ContentFile(content.getvalue(), name="picture.png")


def add_image(title="mug", content=None):
    product = Product.objects.create(title=title)
    return ProductImage.objects.create(
        product=product, image=content or picture(), alternative_text=f"a {title}"
    )


def index_everything():
    for _ in batch.index_pending():
        pass


def page(client, name, *arguments):
    response = client.get(reverse(name, args=arguments))
    assert response.status_code == 200
    return response.content.decode()


def act(client, name, action, *chosen):
    data = {"action": action, "_selected_action": [each.pk for each in chosen]}
    return client.post(reverse(name), data, follow=True).content.decode()


def state_of(image):
    outbox.fold()
    return IndexEntry.objects.get(index=index_for(type(image)).name, image_id=image.pk).state
