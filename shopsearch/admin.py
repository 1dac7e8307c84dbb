"""The admin: images with their thumbnails and index states, and the outbox to read and to set going again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from shopsearch import outbox, wakeups
from shopsearch.models import IndexEntry, ProductImage
from shopsearch.registry import ImageIndex, get_indexes, get_product_image_model, index_for

if TYPE_CHECKING:  # generic for type checkers only: at run time these cannot be subscripted
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    InlineFormSet = BaseInlineFormSet[Any, Any, Any]
else:
    ModelAdmin, TabularInline, InlineFormSet = admin.ModelAdmin, admin.TabularInline, BaseInlineFormSet

STYLE = "shopsearch/admin.css"


def find_entries(images: Iterable[Any]) -> None:
    """Afterwards each image has its row of the outbox, or None, as ``index_entry``: one query for all of them."""
    images = list(images)
    entries: dict[str, IndexEntry] = {}
    if images and (index := _index_of(type(images[0]))):
        keys = [str(image.pk) for image in images]
        rows = IndexEntry.objects.filter(index=index.name, image_id__in=keys)
        entries = {entry.image_id: entry for entry in rows}
    for image in images:
        image.index_entry = entries.get(str(image.pk))


def _index_of(model: type[Model]) -> ImageIndex | None:
    try:
        return index_for(model)
    except ImproperlyConfigured:
        return None


def _entry(image: Any) -> IndexEntry | None:
    if not hasattr(image, "index_entry"):
        find_entries([image])
    return cast("IndexEntry | None", image.index_entry)


def _state_label(entry: IndexEntry | None) -> SafeString:
    state, label = (entry.state, entry.get_state_display()) if entry else ("none", _("not indexed"))
    return format_html('<span class="shopsearch-state shopsearch-state-{}">{}</span>', state, label)


class ReindexPermission:
    """Grants actions that say ``permissions=["reindex"]`` to whoever "Can reindex images"."""

    def has_reindex_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("shopsearch.reindex")


class ImageColumns:
    """Columns that show an image of a registered model: its picture, and what the search knows of it."""

    @property
    def media(self) -> forms.Media:
        return super().media + forms.Media(css={"all": (STYLE,)})  # type: ignore[misc,no-any-return]

    @admin.display(description=_("picture"))
    def thumbnail(self, image: Any) -> str:
        index = _index_of(type(image))
        if not (address := index.get_picture_url(image) if index and image.pk else ""):
            return "–"
        return format_html(
            '<img class="shopsearch-thumbnail" src="{}" alt="" width="64" height="64" loading="lazy" decoding="async">',
            address,
        )

    @admin.display(description=_("search"))
    def index_state(self, image: Any) -> str:
        return _state_label(_entry(image)) if image.pk else "–"

    @admin.display(description=_("error"))
    def index_error(self, image: Any) -> str:
        entry = _entry(image) if image.pk else None
        return entry.error if entry else ""


class ImageChangeList(ChangeList):
    """A page of images together with their rows of the outbox."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        find_entries(self.result_list)


class ProductImageAdminMixin(ReindexPermission, ImageColumns):
    """Shows thumbnails and index states in the admin of any registered image model, and reindexes the selected.

    With a model of your own::

        @admin.register(PosterImage)
        class PosterImageAdmin(ProductImageAdminMixin, admin.ModelAdmin):
            pass

    The columns ``thumbnail``, ``index_state`` and ``index_error`` may be used in a ``list_display`` of your own.
    """

    list_display: Any = ("thumbnail", "__str__", "index_state", "index_error")
    list_per_page = 50
    readonly_fields: Any = ("thumbnail", "index_state", "index_error")
    actions: Any = ("reindex_selected",)
    model: type[Model]
    admin_site: admin.AdminSite

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ImageChangeList

    @admin.action(description=_("Reindex selected %(verbose_name_plural)s"), permissions=["reindex"])
    def reindex_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        keys = queryset.values_list("pk", flat=True)
        _say_marked(request, _mark({index_for(self.model): keys}))


class ImageAdmin(ProductImageAdminMixin, ModelAdmin):
    """The admin of shopsearch's own ProductImage, and of any subclass of AbstractProductImage."""

    list_display = ("thumbnail", "__str__", "product", "index_state", "index_error")
    list_select_related = ("product",)
    fields = ("product", "image", "alternative_text", "position", "thumbnail", "index_state", "index_error")

    def _product_search_fields(self) -> list[str]:
        field = self.model._meta.get_field("product")
        product_admin = self.admin_site._registry.get(field.related_model)  # type: ignore[arg-type]
        return list(product_admin.search_fields) if product_admin else []

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """What the product's own admin searches by, and the image's words."""
        return ["alternative_text", "image", *(f"product__{name}" for name in self._product_search_fields())]

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        return ["product"] if self._product_search_fields() else []


class EntriesFormSet(InlineFormSet):
    """An inline's images together with their rows of the outbox."""

    def get_queryset(self) -> QuerySet[Any]:
        known = hasattr(self, "_queryset")
        queryset: QuerySet[Any] = super().get_queryset()
        if not known:
            find_entries(queryset)
        return queryset


class ProductImageInline(ImageColumns, TabularInline):
    """A product's images inside the product's own admin: ``inlines = [ProductImageInline]``.

    For another image model than the project's product image model, subclass it and set ``model``.
    """

    model: type[Model] = get_product_image_model()
    formset = EntriesFormSet
    extra = 1
    readonly_fields = ("thumbnail", "index_state")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The picture first: it is what one looks for."""
        fields = [name for name in super().get_fields(request, obj) if name not in self.readonly_fields]
        return ["thumbnail", *fields, "index_state"]


class IndexEntryAdmin(ReindexPermission, ModelAdmin):
    """The outbox: to be read, and to be set going again; nobody edits it."""

    list_display = (
        "image_link",
        "index",
        "state_label",
        "attempts",
        "error_text",
        "changed_at",
        "indexed_at",
    )
    list_display_links = None
    list_filter = ("state", "index")
    search_fields = ("=image_id", "error")
    ordering = ("-pk",)
    actions = ("reindex_selected", "retry_failed")
    list_per_page = 50
    show_full_result_count = False

    class Media:
        css = {"all": (STYLE,)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("image"), ordering="image_id")
    def image_link(self, entry: IndexEntry) -> str:
        index = {index.name: index for index in get_indexes()}.get(entry.index)
        if index is None or entry.state == IndexEntry.State.DELETING:
            return entry.image_id
        options = index.model._meta
        try:
            address = reverse(
                f"{self.admin_site.name}:{options.app_label}_{options.model_name}_change",
                args=[entry.image_id],
            )
        except NoReverseMatch:  # the model is not in this admin
            return entry.image_id
        return format_html('<a href="{}">{}</a>', address, entry.image_id)

    @admin.display(description=_("state"), ordering="state")
    def state_label(self, entry: IndexEntry) -> str:
        return _state_label(entry)

    @admin.display(description=_("error"))
    def error_text(self, entry: IndexEntry) -> str:
        return format_html('<span class="shopsearch-error">{}</span>', entry.error) if entry.error else ""

    @admin.action(description=_("Reindex selected %(verbose_name_plural)s"), permissions=["reindex"])
    def reindex_selected(self, request: HttpRequest, queryset: QuerySet[IndexEntry]) -> None:
        indexes = {index.name: index for index in get_indexes()}
        chosen: dict[str, list[str]] = defaultdict(list)
        for name, image_id in queryset.values_list("index", "image_id"):
            chosen[name].append(image_id)
        _say_marked(request, _mark({indexes[name]: ids for name, ids in chosen.items() if name in indexes}))

    @admin.action(description=_("Retry the failed among the selected"), permissions=["reindex"])
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[IndexEntry]) -> None:
        self.reindex_selected(request, queryset.filter(state=IndexEntry.State.FAILED))

    def get_urls(self) -> list[URLPattern]:
        everything = self.admin_site.admin_view(self.reindex_everything)
        return [path("reindex/", everything, name="shopsearch_reindex"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        extra = {"may_reindex": self.has_reindex_permission(request), **(extra_context or {})}
        return super().changelist_view(request, extra)

    def reindex_everything(self, request: HttpRequest) -> HttpResponse:
        """Asks first; on POST marks every image of every index."""
        if not self.has_reindex_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            marked = sum(outbox.mark_all(index) for index in get_indexes())
            _wake()
            _say_marked(request, marked)
            back = "shopsearch_indexentry_changelist" if self.has_view_permission(request) else "index"
            return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{back}"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Reindex everything"),
            "opts": self.model._meta,
            "indexes": [(index.name, index.get_queryset().count()) for index in get_indexes()],
        }
        request.current_app = self.admin_site.name  # type: ignore[attr-defined]
        return TemplateResponse(request, "admin/shopsearch/indexentry/reindex.html", context)


def _mark(images: Mapping[ImageIndex, Iterable[object]]) -> int:
    marked = sum(outbox.mark(index, ids) for index, ids in images.items())
    _wake()
    return marked


def _wake() -> None:
    for using in outbox.databases():
        wakeups.wake_after_commit(using)


def _say_marked(request: HttpRequest, marked: int) -> None:
    text = ngettext("%(count)d image will be reindexed.", "%(count)d images will be reindexed.", marked)
    messages.success(request, text % {"count": marked})


admin.site.register(IndexEntry, IndexEntryAdmin)
if not ProductImage._meta.swapped:
    admin.site.register(ProductImage, ImageAdmin)
