"""Wires checks, indexes, signals and Celery at start; loads no model, opens no socket."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ShopsearchConfig(AppConfig):
    name = "shopsearch"
    verbose_name = _("Shop search")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from shopsearch import checks, registry, tasks  # noqa: F401
        from shopsearch.indexing import receivers

        registry.autodiscover()
        receivers.connect()
