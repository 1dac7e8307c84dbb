"""The checks of ``manage.py check``: what is wrong with a project, and how to fix it; see docs/reference-checks.md.

A check only reads settings and declarations: it loads no model, opens no connection, queries no database. The exception
is the one in ``database``, which runs together with Django's own database checks: ``check --database`` and ``migrate``.
The modules are imported when checks run: a web server's processes run none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Tags, register

TAG = "shopsearch"


@register(TAG)
def check_project(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """The settings, the declarations and the project around them."""
    from shopsearch.checks import deployment, indexes, settings

    yield from settings.check_models()
    yield from settings.check_settings()
    if settings.is_readable():
        yield from settings.check_backends()
        yield from deployment.check_uploads()
        yield from deployment.check_extras()
        yield from deployment.check_detector()
    yield from settings.check_rest_framework()
    yield from indexes.check_indexes()
    yield from indexes.check_unloaded()
    yield from deployment.check_urls()
    yield from deployment.check_saves()


@register(TAG, deploy=True)
def check_deployment(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """What matters where shoppers come: ``check --deploy``."""
    from shopsearch.checks import deployment, settings, workers

    if settings.is_readable():
        yield from deployment.check_cache()
        yield from deployment.check_proxies()
        yield from deployment.check_embedder()
        yield from workers.check_workers()


# Not with TAG: Django 6.1 gives every database to the checks of a tag, and `check --tag shopsearch` would ask them.
@register(Tags.database)
def check_databases(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The one check that asks the database and the store."""
    from shopsearch.checks import database

    return database.check_milvus_lite(app_configs, **kwargs)
