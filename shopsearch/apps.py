"""Wires checks, indexes, signals and Celery at start; loads no model, opens no socket."""

from importlib import import_module

from celery.signals import beat_init, import_modules, worker_init
from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ShopsearchConfig(AppConfig):
    name = "shopsearch"
    verbose_name = _("Shop search")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from shopsearch import checks, registry  # noqa: F401
        from shopsearch.indexing import receivers

        registry.autodiscover()
        receivers.connect()
        # A worker may set up Django while it sends the first of these: too late to hear it.
        for moment in (import_modules, worker_init, beat_init):
            moment.connect(import_tasks, dispatch_uid="shopsearch")


def import_tasks(**kwargs: object) -> None:
    """For Celery's workers and its beat, whether or not the project autodiscovers tasks. Web processes need none."""
    import_module("shopsearch.tasks")
