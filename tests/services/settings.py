"""tests.settings with the servers and folders that the environment names: for the processes that tests start."""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import SHOPSEARCH

if "TEST_DATABASE" in os.environ:
    DATABASES = {"default": json.loads(os.environ["TEST_DATABASE"])}
MEDIA_ROOT = os.environ.get("TEST_MEDIA_ROOT", MEDIA_ROOT)  # noqa: F405
CELERY_BROKER_URL = os.environ.get("TEST_BROKER_URL", "memory://")
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_IGNORE_RESULT = True
SHOPSEARCH = SHOPSEARCH | json.loads(os.environ.get("TEST_SHOPSEARCH", "{}"))
if "TEST_LOGGING" in os.environ:
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "shopsearch.telemetry.logs.RequestIDFilter"}},
        "formatters": {"json": {"()": "shopsearch.telemetry.logs.JSONFormatter"}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "filters": ["request_id"], "formatter": "json"}
        },
        "root": {"handlers": ["console"], "level": "INFO"},
    }
