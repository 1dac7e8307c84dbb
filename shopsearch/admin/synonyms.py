"""The admin of synonyms: edited one by one, or by a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from shopsearch import search
from shopsearch.admin.csv_exchange import CSVAdmin
from shopsearch.admin.languages import language_field
from shopsearch.models import Synonym
from shopsearch.registry import analyzer


class SynonymForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    class Meta:
        model = Synonym
        fields = ("words", "meanings", "is_two_way", "language")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "language" in self.fields:
            self.fields["language"] = language_field(self.instance.language)

    def _readable(self, name: str) -> str:
        text = " ".join(str(self.cleaned_data[name]).split())
        if not analyzer.plain(text):
            raise forms.ValidationError(_("Write words."))
        return text

    def clean_words(self) -> str:
        return self._readable("words")

    def clean_meanings(self) -> str:
        return self._readable("meanings")


class SynonymAdmin(CSVAdmin):
    """Synonyms, in force in every process a few seconds after they are saved."""

    form = SynonymForm
    list_display = ("words", "meanings", "is_two_way", "language")
    list_filter = ("language", "is_two_way")
    search_fields = ("words", "meanings")
    csv_name = "synonyms.csv"
    import_title = _("Import synonyms")
    import_help = _(
        "UTF-8, with the columns language, words, meanings and two_way. A synonym of the same words and language "
        "is replaced; others stay."
    )

    def csv_of(self, request: HttpRequest) -> str:
        return search.synonyms.csv_of(Synonym.objects.order_by("language", "words"))

    def csv_rows(self, content: bytes) -> list[Synonym]:
        return search.synonyms.rows_of(content)

    def import_rows(self, request: HttpRequest, rows: Sequence[Any]) -> str:
        search.synonyms.save(rows)
        text = ngettext("%(count)d synonym was imported.", "%(count)d synonyms were imported.", len(rows))
        return text % {"count": len(rows)}
