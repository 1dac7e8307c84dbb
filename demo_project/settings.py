"""Settings of the demo: everything it writes is in one folder, everything it talks to is on this machine."""

import os
from pathlib import Path
from typing import Any

from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured

from demo_project.addresses import key_prefix, read_addresses, read_database, transport_options

ROOT = Path(__file__).resolve().parent.parent
DEMO_DIR = Path(os.environ.get("SHOPSEARCH_DEMO_DIR", ROOT / ".var")).resolve()
DEMO_DIR.mkdir(parents=True, exist_ok=True)  # from Django 6.0 on, `check` opens the database
ADDRESSES = read_addresses(DEMO_DIR)

DEBUG = os.environ.get("DEBUG", "1").lower() in ("1", "true", "yes", "on")
SECRET_KEY = os.environ.get("SECRET_KEY", "")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "DEBUG is off and there is no SECRET_KEY. Set one: `openssl rand -hex 24` makes it."
        )
    SECRET_KEY = "demo: listens on this machine only, keeps nobody's secrets"  # noqa: S105
# A container asks its own health at 127.0.0.1, whatever the shop is called.
ALLOWED_HOSTS = ["127.0.0.1", *os.environ.get("ALLOWED_HOSTS", "localhost,[::1]").split(",")]

ROOT_URLCONF = "demo_project.urls"
WSGI_APPLICATION = "demo_project.wsgi.application"
ASGI_APPLICATION = "demo_project.asgi.application"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "demo_project.catalog",  # before shopsearch: its templates of the same name win
    "shopsearch",
]
MIDDLEWARE = [
    "shopsearch.middleware.RequestIDMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "demo_project.middleware.CompressedPages",
    "demo_project.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# WAL and IMMEDIATE let the web process, the worker and a command write at once: with Django's defaults some
# saves end in "database is locked".
DATABASES: dict[str, Any] = {
    "default": read_database(os.environ.get("DEMO_DATABASE_URL", ""))
    or {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DEMO_DIR / "shop.sqlite3",
        "CONN_MAX_AGE": None,  # to open the file anew costs a search a tenth of its time
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
if ADDRESSES.cache_url:
    # Several processes then count a visitor's searches together, and share the cache of queries.
    # A cache that hangs costs a search a second or two: it is then embedded, and not throttled.
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": ADDRESSES.cache_url,
            "KEY_PREFIX": key_prefix(DEMO_DIR),
            "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 1},
        }
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
# As the shopper's browser asks for; what is sold is described in English.
LANGUAGES = [("en", "English"), ("es", "Español")]
TIME_ZONE = "UTC"
USE_TZ = True

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "demo_project.static_files.VersionedStaticFiles"},
}
STATIC_URL = "static/"
STATIC_ROOT = DEMO_DIR / "static"
# The reference pictures to search with: /static/pictures/leopard.jpg.
STATICFILES_DIRS = [("pictures", ROOT / "demo_project" / "pictures")]
MEDIA_URL = "media/"
MEDIA_ROOT = DEMO_DIR / "media"

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "NUM_PROXIES": int(os.environ.get("DEMO_PROXIES", "0")),
}
SPECTACULAR_SETTINGS = {"TITLE": "shopsearch demo", "VERSION": "0.1.0", "SERVE_INCLUDE_SCHEMA": False}

CELERY_BROKER_URL = ADDRESSES.broker_url
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = transport_options(ADDRESSES.broker_url, DEMO_DIR)
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
# The outbox remembers what is to be done: a message is a hint, and may be lost.
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
# Where beat runs, as in compose.yaml. On the indexing worker's queue, since it has no other worker: for this small
# catalogue it takes seconds.
CELERY_BEAT_SCHEDULE = {
    "shopsearch-reconcile": {
        "task": "shopsearch.reconcile",
        "schedule": crontab(hour=4, minute=0),
        "options": {"queue": "shopsearch-index"},
    }
}

SHOPSEARCH_PRODUCT_MODEL = "catalog.Product"
# The default, spelt out: Django wants it where a foreign key leads to the pictures.
SHOPSEARCH_PRODUCT_IMAGE_MODEL = "shopsearch.ProductImage"
SHOPSEARCH: dict[str, Any] = {
    "VECTOR_STORE": {
        "BACKEND": "shopsearch.vector_stores.milvus.MilvusStore",
        "OPTIONS": {"uri": ADDRESSES.milvus_uri},
    },
    # Where a query worker runs, the web process needs no model.
    "QUERY_EMBEDDER": {"BACKEND": "shopsearch.embedders.remote.WorkerEmbedder"}
    if ADDRESSES.query_worker
    else None,
    # Most machines that the demo runs on have two cores: while one search waits for the model or Milvus, another works.
    "MAX_SEARCHES": 2,
    # In each web process: a shopper waits a moment rather than be turned away.
    "MAX_WAITING_SEARCHES": 8,
    "METRICS_TOKEN": os.environ.get("DEMO_METRICS_TOKEN") or None,
    "METRICS_HOST": os.environ.get("DEMO_METRICS_HOST", "127.0.0.1"),
    "METRICS_PORT": int(os.environ.get("DEMO_METRICS_PORT", "0")),
    "BASE_TEMPLATE": "catalog/base.html",
    # "shoes" finds the sneakers, which no text of the shop calls so.
    "STARTER_SYNONYMS": True,
}
if not os.environ.get("DEMO_PHOTOGRAPHS"):
    # The rendered shop's own model knows it better than the starter, which is the default where it is installed.
    SHOPSEARCH["EMBEDDER"] = {"BACKEND": "shopsearch.embedders.visualized_bge.VisualizedBGE"}
if embedder_model := os.environ.get("DEMO_EMBEDDER_MODEL"):
    # Visualized BGE as its authors publish it, instead of the bundled model.
    SHOPSEARCH["EMBEDDER"] = {
        "BACKEND": "shopsearch.embedders.visualized_bge.VisualizedBGE",
        "OPTIONS": {"model": embedder_model, "weights": os.environ.get("DEMO_EMBEDDER_WEIGHTS", "")},
    }
if reranker_url := os.environ.get("DEMO_RERANKER_URL"):
    # A vision-language model behind vLLM or another server of OpenAI's protocol.
    SHOPSEARCH["RERANKER"] = {
        "BACKEND": "shopsearch.rerankers.server.ServerReranker",
        "OPTIONS": {"url": reranker_url, "model": os.environ.get("DEMO_RERANKER_MODEL", "")},
    }

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "shopsearch.telemetry.logs.RequestIDFilter"}},
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s"},
        "json": {"()": "shopsearch.telemetry.logs.JSONFormatter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "filters": ["request_id"],
            "formatter": os.environ.get("DEMO_LOG_FORMAT", "line"),
        }
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": ["console"], "level": "INFO", "propagate": False},
        # Loading weights is chatty.
        "transformers": {"level": "WARNING"},
        "FlagEmbedding": {"level": "WARNING"},
    },
}
