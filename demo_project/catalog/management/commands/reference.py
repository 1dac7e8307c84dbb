"""``manage.py reference``: the run of the Milvus article, from its archive of pictures to the reranked answer."""

from __future__ import annotations

import json
import tarfile
import time
import zlib
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from django.conf import settings
from django.core.management import CommandError, call_command
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from demo_project.catalog.amazon_pictures import unpacked
from demo_project.web import HOST

from .demo import Command as Demo
from .demo import free_port

PICTURE = "leopard.jpg"
WORDS = "a phone case with this image theme"
RESULTS = 9
FINAL = ("done", "failed", "expired")


class Command(Demo):
    help = (
        "Import the reference's archive, index it, and ask for phone cases like its leopard: what is found at once, "
        "then in the better order. All that it needs runs meanwhile, and stops afterwards."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(port=0)  # any that is free
        parser.add_argument("archive", type=Path, metavar="ARCHIVE",
                            help="amazon_reviews_2023_subset.tar.gz, or the folder that is in it")  # fmt: skip
        parser.add_argument(
            "--meta", type=Path, metavar="META.jsonl", help="the products that the pictures are of"
        )
        parser.add_argument("--words", default=WORDS, help=f'what is asked (default: "{WORDS}")')
        parser.add_argument("--picture", type=Path, metavar="FILE",
                            help=f"what is asked with (default: the archive's {PICTURE}, or the demo's)")  # fmt: skip
        parser.add_argument("--stay", action="store_true", help="go on serving the shop until Ctrl-C")

    def handle(self, **options: Any) -> None:
        settings.DEMO_DIR.mkdir(parents=True, exist_ok=True)
        archive: Path = options["archive"]
        if options["images"]:
            raise CommandError("The pictures are the archive's; --images is for manage.py demo.")
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(unpacked(archive, settings.DEMO_DIR))
            except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
                raise CommandError(f"{archive} cannot be read: {error}") from error
            super().handle(**options | {"folder": folder, "port": options["port"] or free_port()})

    def fill(self, options: dict[str, Any]) -> None:
        meta = filter(None, [options["meta"]])
        call_command("import_amazon_reviews", *meta, images=options["folder"], limit=options["products"])

    def serve(self, port: int, options: dict[str, Any]) -> None:
        folder: Path = options["folder"]
        pictures = [options["picture"], folder / PICTURE, folder.parent / PICTURE]
        picture = next(
            (path for path in pictures if path and path.is_file()),
            settings.ROOT / "demo_project" / "pictures" / PICTURE,
        )
        self.ask(f"http://{HOST}:{port}/api/search/", options["words"], picture)
        if options["stay"]:
            super().serve(port, options)

    def ask(self, address: str, words: str, picture: Path) -> None:
        begin = time.monotonic()
        form = {"q": words, "limit": RESULTS, "rerank": "true", "image": picture.open("rb")}
        request = Request(address, encode_multipart(BOUNDARY, form), {"Content-Type": MULTIPART_CONTENT})  # noqa: S310
        answer = _json(request)
        found = {result["product"]["id"]: result for result in answer["results"]}
        self.stdout.write(f'\nAsked: "{words}" with {picture.name}')
        self.stdout.write(f"Found in {time.monotonic() - begin:.2f} s:")
        for result in found.values():
            self.stdout.write(f"  {result['rank']}. {_line(result)}")
        if answer["rerank"] is None:
            self.stdout.write("No better order was made.")
            return
        while (rerank := _json(answer["rerank"]["url"]))["state"] not in FINAL:
            self.services.check()
            time.sleep(0.1)
        if rerank["state"] != "done":
            raise CommandError(
                f"The better order is {rerank['state']}; manage.py shopsearch_status says more."
            )
        self.stdout.write(f"In the better order, after {time.monotonic() - begin:.2f} s:")
        for rank, product_id in enumerate(rerank["order"], start=1):
            result = found[product_id]
            self.stdout.write(f"  {rank}. {_line(result)} (was {result['rank']})")
        if rerank["reason"]:
            self.stdout.write(f"Why: {rerank['reason']}")
        self.stdout.flush()


def _json(request: Request | str) -> dict[str, Any]:
    with urlopen(request, timeout=120) as response:  # noqa: S310 -- our own address
        answer: dict[str, Any] = json.load(response)
        return answer


def _line(result: dict[str, Any]) -> str:
    return f"{result['product']['title']}  {result['product']['image']}"
