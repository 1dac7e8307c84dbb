"""The checks of ``manage.py check``: what is wrong with a project, and how to fix it; see docs/reference-checks.md.

A check only reads settings and declarations: it loads no model, opens no connection, queries no database. The exception
is the one in ``database``, which runs together with Django's own database checks: ``check --database`` and ``migrate``.
"""

from django.core.checks import Tags, register

from shopsearch.checks.database import check_milvus_lite
from shopsearch.checks.deployment import (
    check_cache,
    check_detector,
    check_embedder,
    check_extras,
    check_proxies,
    check_saves,
    check_uploads,
    check_urls,
)
from shopsearch.checks.indexes import check_indexes, check_unloaded
from shopsearch.checks.settings import check_backends, check_models, check_rest_framework, check_settings
from shopsearch.checks.workers import check_workers

TAG = "shopsearch"

for _check in (
    check_models,
    check_settings,
    check_backends,
    check_rest_framework,
    check_indexes,
    check_unloaded,
    check_urls,
    check_saves,
    check_uploads,
    check_extras,
    check_detector,
):
    register(_check, TAG)
for _check in (check_cache, check_proxies, check_embedder, check_workers):
    register(_check, TAG, deploy=True)
# Not with TAG: Django 6.1 gives every database to the checks of a tag, and `check --tag shopsearch` would ask them.
register(check_milvus_lite, Tags.database)
