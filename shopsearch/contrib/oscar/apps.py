"""The app's configuration; its label leaves "oscar" free for django-oscar."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OscarSearchConfig(AppConfig):
    name = "shopsearch.contrib.oscar"
    label = "shopsearch_oscar"
    verbose_name = _("Shop search for django-oscar")
