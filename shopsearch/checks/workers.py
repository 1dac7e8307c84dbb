"""Checks that Celery's settings fit the documented command, `celery worker -P solo -c 1 -Q …`: W040 to W045."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from shopsearch.backends import wants_gpu
from shopsearch.broker.base import WakeUp
from shopsearch.broker.celery import CeleryWakeUp
from shopsearch.conf import build, settings


def check_workers() -> Iterator[CheckMessage]:
    try:
        wake_up = build("WAKE_UP", WakeUp)
    except ImproperlyConfigured:
        return  # E003 says so
    if not isinstance(wake_up, CeleryWakeUp) or not wake_up.app.conf.broker_write_url:
        return  # W001 says so
    for check in (_check_pool, _check_routes, _check_queues, _check_prefetch, _check_visibility):
        yield from check(wake_up.app)


def _line() -> str:
    queues = f"{settings.INDEX_QUEUE},{settings.RERANK_QUEUE}"
    return f"celery -A yourproject worker -P solo -c 1 -Q {queues}"


def _check_pool(app: Any) -> Iterator[CheckMessage]:
    pool, concurrency = _written(app.conf, "worker_pool"), _written(app.conf, "worker_concurrency")
    try:
        if not wants_gpu():
            return
    except (ImproperlyConfigured, ValueError):
        return  # E003 says so
    if pool not in (None, "solo"):
        yield CheckWarning(
            f"The models run on a GPU, but CELERY_WORKER_POOL is {pool!r}: a GPU cannot be used across a fork, and "
            "threads that share a GPU gain nothing.",
            hint=f"Start the worker of shopsearch with `{_line()}`, one for each card, and remove the setting.",
            id="shopsearch.W040",
        )
    if (concurrency or 1) > 1:
        yield CheckWarning(
            f"The models run on a GPU, but CELERY_WORKER_CONCURRENCY is {concurrency}: every process of the pool "
            "would load the models onto it again.",
            hint=f"Start the worker of shopsearch with `{_line()}`, one for each card, and remove the setting.",
            id="shopsearch.W041",
        )


def _written(conf: Any, name: str) -> Any:
    """The project's own value of a Celery setting; None where it has none, so that the command line decides."""
    names = (name, f"{conf.prefix or ''}{name}".upper())
    found = (source[key] for source in conf.maps[:-1] for key in names if key in source)
    return next(found, None)


def _check_routes(app: Any) -> Iterator[CheckMessage]:
    from shopsearch import tasks  # noqa: F401  # `manage.py check` has not imported them, so Celery knows none

    ours = {settings.INDEX_QUEUE, settings.RERANK_QUEUE}
    for task in sorted(name for name in app.tasks if name.startswith("shopsearch.")):
        route = app.amqp.router.lookup_route(task) or {}
        queue = getattr(route.get("queue"), "name", route.get("queue"))
        if (queue is None or queue in ours) and not {"exchange", "routing_key"} & route.keys():
            continue
        yield CheckWarning(
            f"CELERY_TASK_ROUTES sends {task} to another queue than {' or '.join(sorted(ours))}, from which its "
            "workers take tasks.",
            hint="Leave shopsearch.* out of CELERY_TASK_ROUTES, and name the queues by SHOPSEARCH['INDEX_QUEUE'] and "
            "SHOPSEARCH['RERANK_QUEUE'].",
            id="shopsearch.W042",
        )


def _check_queues(app: Any) -> Iterator[CheckMessage]:
    if app.conf.task_create_missing_queues:
        return
    declared = {getattr(queue, "name", queue) for queue in app.conf.task_queues or ()}
    if missing := sorted({settings.INDEX_QUEUE, settings.RERANK_QUEUE} - declared):
        yield CheckWarning(
            f"CELERY_TASK_QUEUES lacks {' and '.join(missing)}, and Celery may not create missing queues: no worker "
            "can be woken.",
            hint=f"Add kombu.Queue({missing[0]!r}) to CELERY_TASK_QUEUES, or remove "
            "CELERY_TASK_CREATE_MISSING_QUEUES = False.",
            id="shopsearch.W043",
        )


def _check_prefetch(app: Any) -> Iterator[CheckMessage]:
    if (multiplier := app.conf.worker_prefetch_multiplier) != 1:
        yield CheckWarning(
            f"CELERY_WORKER_PREFETCH_MULTIPLIER is {multiplier}: a busy worker reserves wake-ups that an idle one "
            "would answer at once.",
            hint="Set CELERY_WORKER_PREFETCH_MULTIPLIER = 1, or start the worker of shopsearch with "
            "`--prefetch-multiplier 1` and silence this check.",
            id="shopsearch.W044",
        )


def _check_visibility(app: Any) -> Iterator[CheckMessage]:
    seconds = (app.conf.broker_transport_options or {}).get("visibility_timeout")
    longest = max(settings.LEASE_SECONDS, settings.RERANK_DEADLINE_SECONDS)
    if not app.conf.task_acks_late or seconds is None or seconds >= longest:
        return
    yield CheckWarning(
        f"With CELERY_TASK_ACKS_LATE, a broker sends a task again after visibility_timeout, {seconds:g} seconds, but a "
        f"task may take {longest:g}: workers are then woken for work that another one is doing.",
        hint="Remove CELERY_TASK_ACKS_LATE, as a lost message does not harm shopsearch, or raise visibility_timeout "
        "in CELERY_BROKER_TRANSPORT_OPTIONS above LEASE_SECONDS and RERANK_DEADLINE_SECONDS.",
        id="shopsearch.W045",
    )
