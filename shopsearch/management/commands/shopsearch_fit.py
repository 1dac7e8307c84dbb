"""manage.py shopsearch_fit: fit an adapter to the shop's own titles, and use it if it is proven to help."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from shopsearch import broker
from shopsearch.evaluation.fits import record
from shopsearch.evaluation.fitting import go_live, prove_index
from shopsearch.evaluation.progress import progress_bar
from shopsearch.management.command import ShopsearchCommand
from shopsearch.registry import get_index


class Command(ShopsearchCommand):
    help = (
        "Fit a small adapter to the shop's own titles and stored vectors; no picture is embedded. If titles are proven "
        "to find products better that the adapter has not seen, a rebuild makes it live; "
        "`shopsearch_reindex --rollback` undoes that."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--index", default="", help="The index, such as catalog_productimage.")
        parser.add_argument(
            "--dry-run", action="store_true", help="Print what would be gained, and change nothing."
        )
        parser.add_argument("--seed", type=int, default=0, help="Another number holds out other products.")

    def handle(self, *args: Any, **options: Any) -> None:
        index = get_index(options["index"])
        with progress_bar("step") as show:
            shop, proof = prove_index(index, seed=options["seed"], progress=show)
        self.stdout.write("\n".join(proof.lines()))
        if options["dry_run"] and proof.is_better:
            self.stdout.write("An adapter would go live. Nothing was changed.")
        elif not proof.is_better:
            self.stdout.write(proof.sentence)
            if not options["dry_run"]:
                record(index, proof)
        else:
            new = go_live(index, shop, proof)
            record(index, proof)
            broker.wake()
            self.stdout.write(
                f"{new.name} is being filled with the stored vectors and the adapter, and then goes live. "
                "`shopsearch_reindex` shows the progress, and --rollback undoes it."
            )
