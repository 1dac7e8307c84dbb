"""Settings of a shop whose workers are woken by django-tasks-db: Django's tasks, kept in the shop's database."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, SHOPSEARCH

INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]
DATABASES = {"default": {**DATABASES["default"], "NAME": os.environ["SHOPSEARCH_TEST_FILE"]}}
MEDIA_ROOT = os.environ["SHOPSEARCH_TEST_FILE"] + "-media"
TASKS = {
    "default": {
        "BACKEND": "django_tasks_db.DatabaseBackend",
        "QUEUES": ["default", "shopsearch-index", "shopsearch-rerank"],
    },
}
SHOPSEARCH = {
    **SHOPSEARCH,
    "WAKE_UP": {
        "BACKEND": "shopsearch.broker.django_tasks.DjangoTasksWakeUp",
        "OPTIONS": {"backend": "default"},
    },
}
