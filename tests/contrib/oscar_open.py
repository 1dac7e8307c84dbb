"""An Oscar shop with search that is open for a browser: its pages, and a worker that nothing but its sweep wakes."""

import json
import sys
import threading
import time
from pathlib import Path

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import execute_from_command_line  # noqa: E402
from django.db import connection  # noqa: E402

from shopsearch.conf import settings  # noqa: E402
from shopsearch.indexing import outbox  # noqa: E402
from shopsearch.testing import index_saved  # noqa: E402
from tests.contrib.oscar_products import build  # noqa: E402

storefront, address = Path(sys.argv[1]), sys.argv[2]
rows = [json.loads(line) for line in (storefront / "products.jsonl").read_text().splitlines()]
for row in [row for row in rows if row["store"] == "saleor" and row["images"]][:12]:
    build(row, storefront)
User.objects.create_superuser("admin", "admin@example.com", "admin")
index_saved()


def sweep():
    while True:
        if outbox.has_due():
            index_saved()
        connection.close()
        time.sleep(settings.SWEEP_SECONDS)


threading.Thread(target=sweep, daemon=True).start()
execute_from_command_line(["manage.py", "runserver", "--noreload", address])
