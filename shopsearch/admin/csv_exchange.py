"""CSV files in the admin: a list of what staff edit is exported as one, and rows are imported from one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from shopsearch.admin.pages import OwnAdmin
from shopsearch.search import csv_files


class CSVAdmin(OwnAdmin):
    """An admin with the views ``import/`` and ``export/``, linked from its list by permission."""

    change_list_template = "admin/shopsearch/csv_list.html"
    csv_name = ""
    """Of the exported file."""
    import_title: Any = ""
    import_help: Any = ""
    """What a file has to look like, and what happens to rows that are there already."""

    def csv_of(self, request: HttpRequest) -> str:
        """The file that ``csv_rows`` reads."""
        raise NotImplementedError

    def csv_rows(self, content: bytes) -> Sequence[Any]:
        """The rows of a file, checked and not stored. Raises ``csv_files.Unusable``."""
        raise NotImplementedError

    def import_rows(self, request: HttpRequest, rows: Sequence[Any]) -> str:
        """Store them; returns the sentence that says so."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("export/", view(self.export_view), name=self.url_name("export")),
            path("import/", view(self.import_view), name=self.url_name("import")),
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        urls = {"export_url": self.url_of("export")}
        if self._may_import(request):
            urls["import_url"] = self.url_of("import")
        return super().changelist_view(request, {**urls, **(extra_context or {})})

    def _may_import(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def export_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        headers = {"Content-Disposition": f'attachment; filename="{self.csv_name}"'}
        return HttpResponse(self.csv_of(request), content_type="text/csv; charset=utf-8", headers=headers)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        if not self._may_import(request):
            raise PermissionDenied
        form = _ImportForm(self, request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            messages.success(request, self.import_rows(request, form.cleaned_data["file"]))
            return HttpResponseRedirect(self.url_of("changelist"))
        context = {"title": self.import_title, "form": form, "changelist_url": self.url_of("changelist")}
        return self.page(request, "admin/shopsearch/csv_import.html", context)


class _ImportForm(forms.Form):
    file = forms.FileField(label=_("CSV file"))

    def __init__(self, own: CSVAdmin, *args: Any) -> None:
        super().__init__(*args)
        self.own = own
        self.fields["file"].help_text = own.import_help

    def clean_file(self) -> Sequence[Any]:
        file = self.cleaned_data["file"]
        if file.size > csv_files.MAX_BYTES:
            raise forms.ValidationError(_("The file is too large."))
        try:
            return self.own.csv_rows(file.read())
        except csv_files.Unusable as error:
            raise forms.ValidationError(str(error)) from error
