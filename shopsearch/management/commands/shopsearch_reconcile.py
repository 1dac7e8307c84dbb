"""manage.py shopsearch_reconcile: compare the shop with the vector store itself, in both directions."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from tqdm import tqdm

from shopsearch.indexing import reconcile
from shopsearch.indexing.reconcile import KINDS, Difference
from shopsearch.management.command import ShopsearchCommand
from shopsearch.registry import ImageIndex, get_index, get_indexes

SHOWN = 5
"""How many differences of each index are listed."""


class Command(ShopsearchCommand):
    help = (
        "Compare the shop with the vector store itself, in both directions, and find images that are missing in the "
        "store, should not be in it, or are out of date. Exit code 1 if something differs and --fix is not given."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--index", default="", help="Only this index, such as catalog_productimage.")
        parser.add_argument("--fix", action="store_true", help="Have the workers repair the differences.")
        parser.add_argument("--json", action="store_true", help="Print one object for programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        indexes = [get_index(options["index"])] if options["index"] else get_indexes()
        is_quiet = options["json"] or options["verbosity"] == 0
        reports = [self._compare(index, fix=options["fix"], is_quiet=is_quiet) for index in indexes]
        if options["json"]:
            self.stdout.write(json.dumps({"fixed": options["fix"], "indexes": reports}, indent=2))
        else:
            for report in reports:
                self._tell(report)
        if any(report[kind] for report in reports for kind in KINDS):
            if not options["fix"]:
                sys.exit(1)
            if not options["json"]:
                self.stdout.write("The workers repair the differences; shopsearch_status shows the progress.")

    def _compare(self, index: ImageIndex, *, fix: bool, is_quiet: bool) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        first: list[Difference] = []
        total = None if is_quiet else reconcile.total(index)
        with tqdm(total=total, desc=index.name, unit=" looks", disable=is_quiet or None) as bar:
            for portion in reconcile.reconcile(index, fix=fix):
                counts.update(each.kind for each in portion.differences)
                counts["looked_at"] += portion.looked_at
                first += portion.differences[: SHOWN - len(first)]
                bar.update(portion.looked_at)
        return {
            "name": index.name,
            "looked_at": counts["looked_at"],
            **{kind: counts[kind] for kind in KINDS},
            "first": [
                {"image_id": each.image_id, "kind": each.kind, "reason": each.reason} for each in first
            ],
        }

    def _tell(self, report: dict[str, Any]) -> None:
        found = ", ".join(f"{report[kind]:,} {kind}" for kind in KINDS)
        self.stdout.write(f"{report['name']}: {report['looked_at']:,} looked at: {found}")
        for each in report["first"]:
            self.stdout.write(f"  {each['image_id']} is {each['kind']}: {each['reason']}")
