from shopsearch import FilterField, ImageIndex, register

from .models import LampImage, VaseImage


@register(LampImage)
class LampIndex(ImageIndex):
    filters = {"material": str, "kind": FilterField(str, "kind__slug", label="kind__name")}
    words = ("title_en", "title_es")

    def get_title(self, product):
        return product.title


@register(VaseImage)
class VaseIndex(ImageIndex):
    filters = {"glaze": FilterField(str, "glaze", label="glaze")}
    words = ("translations__title",)

    def get_title(self, product):
        return product.title
