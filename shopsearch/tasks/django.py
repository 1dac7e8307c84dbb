"""The tasks that wake-ups are for, as Django's own tasks framework runs them. Needs Django 6.0."""

from __future__ import annotations

from django.tasks import task

from shopsearch import tasks
from shopsearch.conf import settings

_BACKEND = settings.WAKE_UP.get("OPTIONS", {}).get("backend", "default")


@task(backend=_BACKEND, queue_name=settings.INDEX_QUEUE)
def index() -> None:
    tasks.index()


@task(backend=_BACKEND, queue_name=settings.RERANK_QUEUE)
def rerank() -> None:
    tasks.rerank()


@task(backend=_BACKEND, queue_name=settings.INDEX_QUEUE)
def calibrate() -> None:
    tasks.calibrate()


@task(backend=_BACKEND, queue_name=settings.INDEX_QUEUE)
def fit_asked() -> None:
    tasks.fit_asked()
