"""The admin of synonyms: edited one by one, or by a CSV file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings as django_settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from shopsearch.models import Synonym
from shopsearch.registry import analyzer
from shopsearch.search import csv_files, synonyms

if TYPE_CHECKING:  # generic for type checkers only: at run time these cannot be subscripted
    ModelAdmin = admin.ModelAdmin[Synonym]
    ModelForm = forms.ModelForm[Synonym]
else:
    ModelAdmin, ModelForm = admin.ModelAdmin, forms.ModelForm


class SynonymForm(ModelForm):
    class Meta:
        model = Synonym
        fields = ("words", "meanings", "is_two_way", "language")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "language" in self.fields:
            languages = [("", _("all languages")), *django_settings.LANGUAGES]
            old = self.instance.language
            if old and old not in dict(languages):
                languages.append((old, old))
            self.fields["language"] = forms.ChoiceField(
                label=_("Language"), choices=languages, required=False
            )

    def _readable(self, name: str) -> str:
        text = " ".join(str(self.cleaned_data[name]).split())
        if not analyzer.plain(text):
            raise forms.ValidationError(_("Write words."))
        return text

    def clean_words(self) -> str:
        return self._readable("words")

    def clean_meanings(self) -> str:
        return self._readable("meanings")


class ImportForm(forms.Form):
    file = forms.FileField(
        label=_("CSV file"),
        help_text=_(
            "UTF-8, with the columns language, words, meanings and two_way. A synonym of the same words and language "
            "is replaced; others stay."
        ),
    )

    def clean_file(self) -> list[Synonym]:
        file = self.cleaned_data["file"]
        if file.size > csv_files.MAX_BYTES:
            raise forms.ValidationError(_("The file is too large."))
        try:
            return synonyms.rows_of(file.read())
        except csv_files.Unusable as error:
            raise forms.ValidationError(str(error)) from error


class SynonymAdmin(ModelAdmin):
    """Synonyms, in force in every process a few seconds after they are saved."""

    form = SynonymForm
    list_display = ("words", "meanings", "is_two_way", "language")
    list_filter = ("language", "is_two_way")
    search_fields = ("words", "meanings")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("export/", view(self.export_view), name="shopsearch_synonym_export"),
            path("import/", view(self.import_view), name="shopsearch_synonym_import"),
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        extra = {"may_import": self._may_import(request), **(extra_context or {})}
        return super().changelist_view(request, extra)

    def _may_import(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def export_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        content = synonyms.csv_of(Synonym.objects.order_by("language", "words"))
        headers = {"Content-Disposition": 'attachment; filename="synonyms.csv"'}
        return HttpResponse(content, content_type="text/csv; charset=utf-8", headers=headers)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        if not self._may_import(request):
            raise PermissionDenied
        form = ImportForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            rows = form.cleaned_data["file"]
            synonyms.save(rows)
            text = ngettext("%(count)d synonym was imported.", "%(count)d synonyms were imported.", len(rows))
            messages.success(request, text % {"count": len(rows)})
            return HttpResponseRedirect(reverse(f"{self.admin_site.name}:shopsearch_synonym_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Import synonyms"),
            "opts": self.model._meta,
            "form": form,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/shopsearch/synonym/import.html", context)
