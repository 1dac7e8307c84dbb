"""Makes the tables of docs/evaluation.md from scratch: seeds a shop, indexes it, writes judged queries, evaluates.

    python -m benchmarks.search_quality demo
    python -m benchmarks.search_quality storefront [--images ../shared/data/storefront]

The shop is in a folder of its own, .var/quality-demo or .var/quality-storefront, and is recreated each time unless
--keep is given. The vector store is the exact one in memory, so no server is needed. --write-docs puts the tables into
docs/evaluation.md and the demo's page into docs/pictures. Further options of shopsearch_evaluate go after --, as in:
... demo -- --fail-under nDCG@9=0.8
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
    parser.add_argument("shop", choices=("demo", "storefront"))
    parser.add_argument("--images", type=Path, default=ROOT.parent / "shared" / "data" / "storefront")
    parser.add_argument("--queries", type=int, default=300, help="of each kind, in the demo")
    parser.add_argument("--keep", action="store_true", help="go on with the shop of the last time")
    parser.add_argument(
        "--write-docs", action="store_true", help="put the tables, and the demo's picture, into docs/"
    )
    parser.add_argument("evaluate", nargs="*", help="arguments of shopsearch_evaluate")
    options = parser.parse_args()
    folder = ROOT / ".var" / f"quality-{options.shop}"
    if options.shop == "storefront" and not (options.images / "products.jsonl").is_file():
        parser.error(f"there is no products.jsonl in {options.images}")
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    set_up(folder)
    stock(options)
    queries = write_queries(options, folder)

    from django.core.management import call_command

    more = ["--rerank"] if options.shop == "demo" else []
    files = ["--html", str(folder / "report.html"), "--json", str(folder / "report.json")]
    call_command("shopsearch_evaluate", str(queries), *more, *files, *options.evaluate)
    if options.write_docs:
        quality_tables.write(options.shop, json.loads((folder / "report.json").read_text()))
        if options.shop == "demo":
            quality_tables.photograph(folder / "report.html")


def set_up(folder: Path) -> None:
    os.environ["SHOPSEARCH_DEMO_DIR"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"
    import django
    from django.conf import settings

    settings.SHOPSEARCH |= {"VECTOR_STORE": {"BACKEND": "shopsearch.testing.MemoryStore"}}
    settings.CELERY_BROKER_URL = None
    django.setup()


def stock(options: argparse.Namespace) -> None:
    """Seed the shop and index it, here."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("seed", **({"images": str(options.images)} if options.shop == "storefront" else {}))
    call_command("shopsearch_reindex", here=True)


def write_queries(options: argparse.Namespace, folder: Path) -> Path:
    if options.shop == "demo":
        from django.core.management import call_command

        call_command("judged_queries", str(folder / "judged"), queries=options.queries)
    else:
        from benchmarks.storefront_queries import write

        print(f"Written: {sum(write(folder / 'judged'))} queries")
    return folder / "judged" / "queries.jsonl"


if __name__ == "__main__":
    main()
