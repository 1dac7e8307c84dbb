"""Fixtures every test may use. Real servers are in tests/services/, one file each."""

import os
from importlib.util import find_spec

os.environ.setdefault(
    "DJANGO_ALLOW_ASYNC_UNSAFE", "true"
)  # Playwright keeps an event loop in the test's thread

pytest_plugins = [
    name
    for name in (
        "tests.services.milvus",
        "tests.services.redis",
        "tests.services.celery",
        "tests.services.postgres",
    )
    if find_spec(name)
]
