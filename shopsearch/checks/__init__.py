"""The checks of ``manage.py check``: what is wrong with a project, and how to fix it; see docs/reference-checks.md.

A check only reads settings and declarations: it loads no model, opens no connection, queries no database. The exception
is the one in ``database``, which runs together with Django's own database checks: ``check --database`` and ``migrate``.
The modules are imported when checks run: a web server's processes run none.
"""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Tags, register

TAG = "shopsearch"


@register(TAG)
def check_project(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The settings, the declarations and the project around them."""
    from shopsearch.checks import deployment, indexes, settings

    return [
        message
        for check in (
            settings.check_models,
            settings.check_settings,
            settings.check_backends,
            settings.check_rest_framework,
            indexes.check_indexes,
            indexes.check_unloaded,
            deployment.check_urls,
            deployment.check_saves,
            deployment.check_uploads,
            deployment.check_extras,
            deployment.check_detector,
        )
        for message in check(app_configs, **kwargs)
    ]


@register(TAG, deploy=True)
def check_deployment(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """What matters where shoppers come: ``check --deploy``."""
    from shopsearch.checks import deployment, workers

    return [
        message
        for check in (
            deployment.check_cache,
            deployment.check_proxies,
            deployment.check_embedder,
            workers.check_workers,
        )
        for message in check(app_configs, **kwargs)
    ]


# Not with TAG: Django 6.1 gives every database to the checks of a tag, and `check --tag shopsearch` would ask them.
@register(Tags.database)
def check_databases(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The one check that asks the database and the store."""
    from shopsearch.checks import database

    return database.check_milvus_lite(app_configs, **kwargs)
