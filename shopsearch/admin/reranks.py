"""The admin of reranks: their receipts, read-only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from shopsearch.admin.columns import StateColumn, ago, breakable, link_to, thumbnail
from shopsearch.admin.pages import OwnAdmin
from shopsearch.admin.permissions import ReadOnly
from shopsearch.exceptions import ImageError
from shopsearch.models import Rerank
from shopsearch.registry import ImageIndex, find_index

if TYPE_CHECKING:
    from PIL import Image

MISSING = "lightgrey"
"""The tile of a candidate whose picture is gone."""


class RerankAdmin(ReadOnly, StateColumn, OwnAdmin):
    """The receipts of reranks: the query, the candidates, the model's answer and the final order. Read-only."""

    list_display = ("asked", "state_and_error", "model_name", "seconds", "repaired", "created")
    list_display_links = ("asked",)
    list_filter = ("state", "index", "model")
    search_fields = ("=id", "text", "caption", "reason", "error")
    ordering = ("-created_at",)
    list_per_page = 50
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("asked", "state_and_error", "caption", "reason")}),
        (_("Orders"), {"fields": ("first_order", "final_order", "picture_of_candidates")}),
        (_("The model's answer"), {"fields": ("model", "prompt_version", "raw_answer", "repaired")}),
        (_("Times"), {"fields": ("created_at", "started_at", "finished_at", "deadline_at", "seconds")}),
        (_("Query"), {"fields": ("index", "query_picture", "key", "request_id")}),
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("picture")

    @admin.display(description=_("query"), ordering="text")
    def asked(self, rerank: Rerank) -> str:
        return rerank.text or str(_("(a picture alone)"))

    @admin.display(description=_("model"), ordering="model")
    def model_name(self, rerank: Rerank) -> SafeString:
        return breakable(rerank.model)

    @admin.display(description=_("seconds"))
    def seconds(self, rerank: Rerank) -> str:
        """From the request to the end of the rerank: the time that the shopper waited."""
        if rerank.finished_at is None:
            return "–"
        return f"{(rerank.finished_at - rerank.created_at).total_seconds():.1f}"

    @admin.display(description=_("repairs"), ordering="repairs")
    def repaired(self, rerank: Rerank) -> str:
        return ", ".join(f"{kind}: {count}" for kind, count in rerank.repairs.items()) or "–"

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, rerank: Rerank) -> str:
        return ago(rerank.created_at)

    @admin.display(description=_("raw answer"))
    def raw_answer(self, rerank: Rerank) -> str:
        return format_html('<pre class="shopsearch-raw">{}</pre>', rerank.raw) if rerank.raw else "–"

    @admin.display(description=_("query picture"))
    def query_picture(self, rerank: Rerank) -> str:
        if rerank.is_final:
            return str(_("Not kept: a shopper's picture is deleted as soon as its rerank ends."))
        return str(_("Kept until the rerank ends, and shown to nobody."))

    @admin.display(description=_("retrieval's order"))
    def first_order(self, rerank: Rerank) -> str:
        return self._candidates(rerank, rerank.candidates)

    @admin.display(description=_("final order"))
    def final_order(self, rerank: Rerank) -> str:
        if not rerank.order:
            return str(_("As above: the rerank ended without an order.")) if rerank.is_final else "–"
        by_product = {json.dumps(each["product"]): each for each in rerank.candidates}
        ordered = [by_product.get(json.dumps(product)) for product in rerank.order]
        return self._candidates(rerank, [each for each in ordered if each is not None])

    @admin.display(description=_("the candidates, numbered"))
    def picture_of_candidates(self, rerank: Rerank) -> str:
        return format_html(
            '<img class="shopsearch-collage" src="{}" alt="{}" loading="lazy"><div class="shopsearch-quiet">{}</div>',
            self.url_of("collage", rerank.pk),
            _("The candidates' pictures, numbered in retrieval's order"),
            _(
                "As a model sees them that looks at all of them at once, made from the shop's current pictures. Such "
                "a model also sees the query's picture, which is not kept."
            ),
        )

    def _candidates(self, rerank: Rerank, candidates: list[dict[str, Any]]) -> SafeString:
        """A row of thumbnails, each with its number in retrieval's order."""
        index, rows = _rows(rerank)
        numbers = {each["image"]: number for number, each in enumerate(rerank.candidates, start=1)}
        cells = (
            (
                self._thumbnail(index, rows.get(each["image"]), each["text"]),
                numbers[each["image"]],
                each["text"],
                f"{each['score']:.3f}",
            )
            for each in candidates
        )
        pattern = '<li class="shopsearch-candidate">{}<div><b>{}</b> {}</div><small>{}</small></li>'
        return format_html('<ol class="shopsearch-candidates">{}</ol>', format_html_join("", pattern, cells))

    def _thumbnail(self, index: ImageIndex | None, row: Any, text: str) -> str:
        address = index.picture_url_of(row) if index is not None and row is not None else ""
        if not address or index is None:
            return format_html('<span class="shopsearch-thumbnail">{}</span>', _("gone"))
        return link_to(self.admin_site, index.model, row.pk, thumbnail(address, text or _("picture")))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.collage_view)
        return [path("<uuid:pk>/collage/", view, name=self.url_name("collage")), *super().get_urls()]

    def collage_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """The candidates' pictures in one image, in retrieval's order, for staff with the view permission."""
        from shopsearch import images
        from shopsearch.rerankers.collage import collage

        if not self.has_view_permission(request):
            raise PermissionDenied
        rerank = self.get_queryset(request).filter(pk=pk).first()
        if rerank is None or not rerank.candidates:
            raise Http404
        index, rows = _rows(rerank)
        pictures = [_picture(index, rows.get(each["image"])) for each in rerank.candidates]
        headers = {"Cache-Control": "private, no-store"}
        content = images.jpeg(collage(pictures))
        return HttpResponse(content, content_type="image/jpeg", headers=headers)


def _rows(rerank: Rerank) -> tuple[ImageIndex | None, dict[str, Any]]:
    """The receipt's index, if it still exists, and the candidates' images by key, hidden ones included."""
    index = find_index(rerank.index)
    if index is None:
        return None, {}
    keys = [each["image"] for each in rerank.candidates]
    return index, {str(row.pk): row for row in index.model._default_manager.filter(pk__in=keys)}


def _picture(index: ImageIndex | None, row: Any) -> Image.Image:
    from PIL import Image

    from shopsearch import images
    from shopsearch.rerankers.collage import TILE

    try:
        if index is not None and row is not None:
            with index.open_image(row) as file:
                picture = images.decode(file)
            picture.thumbnail((TILE, TILE))
            return picture
    except (ImageError, OSError, ValueError):
        pass
    return Image.new("RGB", (TILE, TILE), MISSING)
