"""The languages of the project, as staff choose one in a form."""

from __future__ import annotations

from django import forms
from django.conf import settings as django_settings
from django.utils.translation import gettext_lazy as _


def language_field(present: str) -> forms.ChoiceField:
    """A choice of the project's languages or all of them, and of the present one if the project dropped it."""
    languages = [("", _("all languages")), *django_settings.LANGUAGES]
    if present and present not in dict(languages):
        languages.append((present, present))
    return forms.ChoiceField(label=_("Language"), choices=languages, required=False)
