"""The admin of image models: thumbnails, index states, and an inline for products."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from shopsearch import reindex
from shopsearch.admin.columns import ImageColumns, ReindexPermission, find_entries, say_marked
from shopsearch.registry import get_product_image_model


class ImageChangeList(ChangeList):
    """A page of images together with their rows of the outbox."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        find_entries(self.result_list)


class ProductImageAdminMixin(ReindexPermission, ImageColumns):
    """Shows thumbnails and index states in the admin of any registered image model, with an action to reindex images.

    With a model of your own::

        @admin.register(PosterImage)
        class PosterImageAdmin(ProductImageAdminMixin, admin.ModelAdmin):
            pass

    The columns ``thumbnail``, ``index_state`` and ``index_error`` may be used in a ``list_display`` of your own.
    """

    list_display: Any = ("thumbnail", "__str__", "index_state", "index_error")
    list_display_links: Any = ("__str__",)
    list_per_page = 50
    readonly_fields: Any = ("thumbnail", "index_state", "index_error")
    actions: Any = ("reindex_selected",)
    model: type[Model]
    admin_site: admin.AdminSite

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ImageChangeList

    @admin.action(description=_("Reindex selected %(verbose_name_plural)s"), permissions=["reindex"])
    def reindex_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        say_marked(request, reindex(queryset))


class ImageAdmin(ProductImageAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """The admin of shopsearch's own ProductImage, and of any subclass of AbstractProductImage."""

    list_display = ("thumbnail", "__str__", "product", "index_state", "index_error")
    list_select_related = ("product",)
    fields = ("product", "image", "alternative_text", "position", "thumbnail", "index_state", "index_error")

    def _product_search_fields(self) -> list[str]:
        field = self.model._meta.get_field("product")
        product_admin = self.admin_site._registry.get(field.related_model)  # type: ignore[arg-type]
        return list(product_admin.search_fields) if product_admin else []

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The search fields of the product's own admin, and the image's words."""
        return ["alternative_text", "image", *(f"product__{name}" for name in self._product_search_fields())]

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        return ["product"] if self._product_search_fields() else []


class EntriesFormSet(BaseInlineFormSet):  # type: ignore[type-arg]  # not generic at run time
    """An inline's images together with their rows of the outbox."""

    def get_queryset(self) -> QuerySet[Any]:
        known = hasattr(self, "_queryset")
        queryset: QuerySet[Any] = super().get_queryset()
        if not known:
            find_entries(queryset)
        return queryset


class ProductImageInline(ImageColumns, admin.TabularInline):  # type: ignore[type-arg]  # not generic at run time
    """A product's images inside the product's own admin: ``inlines = [ProductImageInline]``.

    For another image model than the project's product image model, subclass it and set ``model``.
    """

    model: type[Model] = get_product_image_model()
    formset = EntriesFormSet
    extra = 1
    readonly_fields = ("thumbnail", "index_state")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The picture first, as it is what people look for."""
        fields = [name for name in super().get_fields(request, obj) if name not in self.readonly_fields]
        return ["thumbnail", *fields, "index_state"]
