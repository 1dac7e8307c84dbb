"""Makes the demo's tables of docs/evaluation.md from scratch: seeds it, indexes it, writes judged queries, evaluates.

    python -m benchmarks.search_quality

The shop is in a folder of its own, .var/quality-demo, and is recreated each time unless --keep is given. The vector
store is the exact one in memory, so no server is needed. --write-docs puts the tables into docs/evaluation.md and the
report's page into docs/pictures. Further options of shopsearch_evaluate go after --, as in:
... -- --fail-under nDCG@9=0.8
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

from benchmarks import quality_tables

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=300, help="of each kind")
    parser.add_argument("--keep", action="store_true", help="go on with the shop of the last time")
    parser.add_argument(
        "--write-docs", action="store_true", help="put the tables and the report's picture into docs/"
    )
    parser.add_argument("evaluate", nargs="*", help="arguments of shopsearch_evaluate")
    options = parser.parse_args()
    folder = ROOT / ".var" / "quality-demo"
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    set_up(folder)
    stock()

    queries = write_queries(folder, options.queries)

    from django.core.management import call_command

    files = ["--html", str(folder / "report.html"), "--json", str(folder / "report.json")]
    call_command("shopsearch_evaluate", str(queries), "--rerank", *files, *options.evaluate)
    if options.write_docs:
        quality_tables.write(json.loads((folder / "report.json").read_text()))
        quality_tables.photograph(folder / "report.html")


def set_up(folder: Path) -> None:
    os.environ["SHOPSEARCH_DEMO_DIR"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"
    import django
    from django.conf import settings

    settings.SHOPSEARCH |= {"VECTOR_STORE": {"BACKEND": "shopsearch.testing.MemoryStore"}}
    settings.CELERY_BROKER_URL = None
    django.setup()


def stock(images: Path | None = None) -> None:
    """Seed the shop, the demo's or that of this folder of photographs, and index it, here."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("seed", images=images and str(images))
    call_command("shopsearch_reindex", here=True)


def write_queries(folder: Path, number: int) -> Path:
    """Judged queries for the demo, so many of each kind."""
    from django.core.management import call_command

    call_command("judged_queries", str(folder / "judged"), queries=number)
    return folder / "judged" / "queries.jsonl"


if __name__ == "__main__":
    main()
