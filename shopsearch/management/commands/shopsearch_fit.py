"""manage.py shopsearch_fit: fit the model's vectors to the shop's own titles, if that is proven to help."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from shopsearch import broker
from shopsearch.evaluation.fitting import go_live, prove_index
from shopsearch.exceptions import BackendError
from shopsearch.indexing.rebuild import Refused
from shopsearch.registry import get_index


class Command(BaseCommand):
    help = (
        "Fit a small adapter to the shop's own titles over the vectors that are there, without embedding a picture. "
        "It goes live by a rebuild if titles are proven to find products better that it has not seen; "
        "`shopsearch_reindex --rollback` takes it back."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--index", default="", help="This index, such as catalog_productimage.")
        parser.add_argument(
            "--dry-run", action="store_true", help="Say what would be gained, and do nothing."
        )
        parser.add_argument("--seed", type=int, default=0, help="Another number keeps other products aside.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            index = get_index(options["index"])
            with tqdm(unit="step", disable=None, dynamic_ncols=True) as bar:

                def show(done: int, total: int) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                shop, proof = prove_index(index, seed=options["seed"], progress=show)
            self.stdout.write("\n".join(proof.lines()))
            if not proof.is_better:
                self.stdout.write(proof.sentence)
            elif options["dry_run"]:
                self.stdout.write("An adapter would go live. Nothing was changed.")
            else:
                new = go_live(index, shop, proof)
                broker.wake()
                self.stdout.write(
                    f"{new.name} is filled with the vectors that are there, each with what was fitted, and then "
                    "answers. `shopsearch_reindex` shows how far it is, and --rollback takes it back."
                )
        except (BackendError, ImproperlyConfigured, Refused) as error:
            raise CommandError(str(error)) from error
