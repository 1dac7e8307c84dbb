"""The catalogue's place among the installed apps."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CatalogConfig(AppConfig):
    name = "demo_project.catalog"
    verbose_name = _("catalogue")
    default_auto_field = "django.db.models.BigAutoField"
