"""How the starter for photographs, the bundled model and a colour histogram find real pictures.

    python -m benchmarks.photographs [--folds FOLDER] [--write-docs]
    python -m benchmarks.photographs --spoilt [--write-docs]
    python -m benchmarks.photographs --reranked [--write-docs]

FOLDER is the output of ``python -m training.photographs.fit --folds FOLDER``. The starter learnt the kinds of clothes
from the photographs in ../shared/data/photographs, so each fifth of them is measured with matrices that were fitted
without its photographers. Nothing was learnt from ../shared/data/storefront; weights were chosen on two thirds of its
categories, and the held-out third has its own column. ``--spoilt`` searches with cropped, turned, compressed, dark and
bright pictures instead, and shows the worst. ``--reranked`` measures what the joint reranker makes of the starter's
first nine products. Needs no server; takes some minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from benchmarks.corruptions import CORRUPTIONS, spoil
from benchmarks.quality_tables import ROOT, put

if TYPE_CHECKING:
    from shopsearch.types import Query

DATA = ROOT.parent / "shared" / "data"
PICTURE = ROOT / "docs" / "pictures" / "photographs_worst.png"
VIEWS = ("the product's picture", "another view")
CELL, WORST = 160, 6
"""Pixels of a picture and its margin; and how many queries the picture of the worst shows."""
FOLDS = 5
SEED = "11"
"""Of the third of storefront's categories that nothing was chosen on."""
COLOURS = [
    "red",
    "blue",
    "green",
    "black",
    "white",
    "grey",
    "gray",
    "pink",
    "yellow",
    "orange",
    "purple",
    "navy",
    "brown",
    "beige",
]
WORDS = {
    "T-Shirt": ("a t-shirt", "tee"),
    "Longsleeve": ("a long sleeve top", "long sleeved shirt"),
    "Pants": ("trousers", "jeans"),
    "Shoes": ("a pair of shoes", "sneakers"),
    "Shirt": ("a button-up shirt", "dress shirt"),
    "Dress": ("a dress", "summer dress"),
    "Outwear": ("jacket", "coat"),
    "Shorts": ("a pair of shorts",),
    "Hat": ("cap", "a hat"),
    "Skirt": ("a skirt", "mini skirt"),
    "Polo": ("polo shirt",),
    "Undershirt": ("tank top",),
    "Blazer": ("suit jacket", "a blazer"),
    "Hoodie": ("hooded sweatshirt", "a hoodie"),
    "Body": ("baby bodysuit", "romper"),
    "Top": ("a top",),
    "Blouse": ("a blouse",),
}
"""What a shopper writes for a label of the photographs."""

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Asked:
    kind: str
    relevant: frozenset[str]
    text: str = ""
    picture: Path | None = None
    spoil: str = ""
    ignored: frozenset[str] = frozenset()
    """Left out of what is found: the product that was asked with, the same photographer's pictures."""
    held: bool = False


@dataclass(kw_only=True)
class Model:
    name: str
    embed: Callable[[Sequence[tuple[str, Image.Image | None]]], Vectors]
    needs_picture: bool = False
    """It knows nothing of words."""
    seen: dict[tuple[str, str, str], Vectors] = field(default_factory=dict)


def storefront(folder: Path) -> tuple[dict[str, Path], list[Asked]]:
    """Each product's first picture, and the queries."""
    rows = rows_of(folder)
    queries = []
    named: dict[str, tuple[str, tuple[str, ...]]] = {}
    categories: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        words = row["name"].lower().split()
        plain = " ".join(word for word in words if word not in COLOURS)
        named[row["id"]] = plain, tuple(word for word in words if word in COLOURS)
        for category in row["categories"][:1]:
            categories[category].add(row["id"])
    held = {row["id"]: _is_held(row) for row in rows}
    for row in rows:
        same = same_as(row, rows)
        picture, is_held = folder / row["image"], held[row["id"]]
        queries.append(Asked(kind="title -> product", text=row["name"], relevant=same, held=is_held))
        queries += [
            Asked(kind="other view -> product", picture=folder / view, relevant=same, held=is_held)
            for view in row["images"][1:]
        ]
        alike = frozenset(categories[row["categories"][0]] if row["categories"] else ()) - {row["id"]}
        if alike:
            queries.append(
                Asked(
                    kind="picture -> category",
                    picture=picture,
                    relevant=alike,
                    ignored=frozenset({row["id"]}),
                    held=is_held,
                )
            )
        for other in rows:
            (plain, dyes), (other_plain, other_dyes) = named[row["id"]], named[other["id"]]
            if other["id"] != row["id"] and plain == other_plain and other_dyes and dyes != other_dyes:
                queries.append(
                    Asked(
                        kind='"the same in red"',
                        picture=picture,
                        text=f"the same in {other_dyes[0]}",
                        relevant=frozenset({other["id"]}),
                        ignored=frozenset({row["id"]}),
                        held=is_held,
                    )
                )
    for category, members in sorted(categories.items()):
        words = category.split("/")[-1].lower()
        is_held = held[min(members)]
        queries.append(Asked(kind="category's name", text=words, relevant=frozenset(members), held=is_held))
    return {row["id"]: folder / row["image"] for row in rows}, queries


def spoilt_storefront(folder: Path) -> tuple[dict[str, Path], list[Asked]]:
    """Each product's first picture, and queries that ask for the product with its pictures, spoilt or not."""
    rows = rows_of(folder)
    queries = [
        Asked(
            kind=f"{view}, {kind or 'unspoilt'}",
            picture=folder / file,
            spoil=kind,
            relevant=same_as(row, rows),
        )
        for view in VIEWS
        for kind in ("", *CORRUPTIONS)
        for row in rows
        for file in (row["images"][:1] if view == VIEWS[0] else row["images"][1:])
    ]
    return {row["id"]: folder / row["image"] for row in rows}, queries


def rows_of(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "products.jsonl").read_text().splitlines()]


def same_as(row: Any, rows: Sequence[Any]) -> frozenset[str]:
    """The products that nobody could tell from this one: the same picture, or the same name."""
    name = row["name"].lower()
    return frozenset(
        other["id"] for other in rows if other["image"] == row["image"] or other["name"].lower() == name
    )


def _is_held(row: Mapping[str, list[str]]) -> bool:
    group = f"{row['store']}/{row['categories'][0] if row['categories'] else ''}"
    return int(hashlib.sha256(f"{SEED} {group}".encode()).hexdigest(), 16) % 3 == 0


def photographs(folder: Path) -> Iterator[tuple[dict[str, Path], list[Asked]]]:
    """The pictures and queries of each fifth of the photographers."""
    from training.photographs.fit import fold_of

    rows = [json.loads(line) for line in (folder / "photographs.jsonl").read_text().splitlines()]
    for fold in range(FOLDS):
        part = [row for row in rows if fold_of(row["photographer"]) == fold]
        labelled, taken_by = defaultdict(set), defaultdict(set)
        for row in part:
            labelled[row["label"]].add(row["file"])
            taken_by[row["photographer"]].add(row["file"])
        queries = []
        for row in part:
            own = frozenset(taken_by[row["photographer"]])
            if others := frozenset(labelled[row["label"]]) - own:
                picture = folder / row["file"]
                queries.append(
                    Asked(kind="photograph -> kind", picture=picture, relevant=others, ignored=own)
                )
        for label, files in sorted(labelled.items()):
            relevant = frozenset(files)
            queries.append(Asked(kind="label -> kind", text=label.lower(), relevant=relevant))
            queries += [
                Asked(kind="words -> kind", text=words, relevant=relevant) for words in WORDS.get(label, ())
            ]
        yield {row["file"]: folder / row["file"] for row in part}, queries


def rank(model: Model, items: Mapping[str, Path], queries: Sequence[Asked]) -> list[int]:
    """At which place the first relevant item stands, for each query; 0 where the model does not understand it."""
    asked = [query for query in queries if query.picture or not model.needs_picture]
    places = {
        id(query): next(rank for rank, key in enumerate(order, 1) if key in query.relevant)
        for query, order in zip(asked, found(model, items, asked), strict=True)
    }
    return [places.get(id(query), 0) for query in queries]


def found(model: Model, items: Mapping[str, Path], queries: Sequence[Asked]) -> Iterator[list[str]]:
    """The items in the model's order, for each query."""
    keys = list(items)
    stored = _embedded(model, [("", items[key], "") for key in keys])
    vectors = _embedded(model, [(query.text, query.picture, query.spoil) for query in queries])
    for query, row in zip(queries, vectors @ stored.T, strict=True):
        yield [keys[place] for place in np.argsort(-row, kind="stable") if keys[place] not in query.ignored]


def _embedded(model: Model, wanted: Sequence[tuple[str, Path | None, str]]) -> Vectors:
    """Nothing is embedded twice."""
    named = [(text, str(path), spoil) for text, path, spoil in wanted]
    missing = [place for place, key in enumerate(named) if key not in model.seen]
    for start in range(0, len(missing), 16):
        places = missing[start : start + 16]
        pairs = [(wanted[place][0], _opened(*wanted[place][1:])) for place in places]
        for place, vector in zip(places, model.embed(pairs), strict=True):
            model.seen[named[place]] = vector
    return np.stack([model.seen[key] for key in named])


def _opened(path: Path | None, kind: str) -> Image.Image | None:
    if path is None:
        return None
    picture = Image.open(path).convert("RGB")
    return spoil(picture, kind, path.name) if kind else picture


def models(folds: Path | None) -> tuple[list[Model], Callable[[int], Model | None]]:
    """The models, and the starter as it is without a fold's photographers."""
    from shopsearch.embedders.photos import PhotoStarter
    from shopsearch.embedders.photos.learned import Learned
    from shopsearch.embedders.visualized_bge import VisualizedBGE
    from shopsearch.evaluation.baselines import _histogram
    from shopsearch.types import Query

    def asking(embedder: PhotoStarter | VisualizedBGE) -> Callable[..., Vectors]:
        return lambda pairs: embedder.embed([Query(text=text, image=image) for text, image in pairs])

    def without(fold: int) -> Model | None:
        if folds is None:
            return None
        learned = Learned.read(folds / f"fold-{fold}.safetensors")
        partial = PhotoStarter()
        partial._loaded = replace(starter._loaded, learned=learned)
        return Model(name="starter", embed=asking(partial))

    starter = PhotoStarter()
    found = [
        Model(name="starter", embed=asking(starter)),
        Model(name="bundled", embed=asking(VisualizedBGE())),
        Model(
            name="colour histogram",
            embed=lambda pairs: np.stack([_histogram(image) for _, image in pairs]),
            needs_picture=True,
        ),
    ]
    return found, without


Places = dict[str, dict[str, list[tuple[int, bool]]]]
"""By kind of query and model: the place of the first relevant item, and whether the query was held out."""


def measured(options: argparse.Namespace) -> tuple[Places, Places]:
    known, without = models(options.folds)
    shop: Places = defaultdict(lambda: defaultdict(list))
    items, queries = storefront(options.storefront)
    for model in known if options.only != "photographs" else ():
        for query, place in zip(queries, rank(model, items, queries), strict=True):
            shop[query.kind][model.name].append((place, query.held))
    clothes: Places = defaultdict(lambda: defaultdict(list))
    for fold, (items, queries) in enumerate(photographs(options.photographs)):
        if options.only == "storefront":
            break
        starter = without(fold)
        for model in [*([starter] if starter else []), *known[1:]]:
            for query, place in zip(queries, rank(model, items, queries), strict=True):
                clothes[query.kind][model.name].append((place, False))
    return shop, clothes


def spoilt(folder: Path) -> tuple[list[str], Image.Image]:
    """The table of spoilt pictures, and the queries that the starter answers worst."""
    known, _ = models(None)
    items, queries = spoilt_storefront(folder)
    places: Places = defaultdict(lambda: defaultdict(list))
    for model in known:
        ranks = rank(model, items, queries)
        for query, place in zip(queries, ranks, strict=True):
            places[query.kind][model.name].append((place, query.held))
        if model is known[0]:
            by_place = sorted(zip(ranks, range(len(ranks)), queries, strict=True), reverse=True)
            seen: dict[str, Asked] = {}
            for _, _, query in by_place:
                seen.setdefault(query.kind, query)
    return [*table(places, held=False)], sheet(known[0], items, list(seen.values())[:WORST])


def reranked(folder: Path) -> Iterator[str]:
    """What the joint reranker makes of the starter's first products, by their pictures and titles."""
    from shopsearch.embedders.photos import PhotoStarter
    from shopsearch.evaluation.intervals import differences
    from shopsearch.rerankers.joint import JointReranker
    from shopsearch.rerankers.ordering import arrange
    from shopsearch.types import Candidate, Query

    embedder = PhotoStarter()
    embedder.embed = once(embedder.embed)  # type: ignore[method-assign]
    model = Model(
        name="starter",
        embed=lambda pairs: embedder.embed([Query(text=text, image=image) for text, image in pairs]),
    )
    reranker = JointReranker()
    reranker.bind(embedder)
    items, queries = storefront(folder)
    titles = {row["id"]: row["name"] for row in rows_of(folder)}
    pictures = {key: _opened(path, "") for key, path in items.items()}
    stored = dict(zip(items, _embedded(model, [("", path, "") for path in items.values()]), strict=True))
    measured: defaultdict[str, list[list[tuple[float, float]]]] = defaultdict(list)
    for query, order in zip(queries, found(model, items, queries), strict=True):
        asked = Query(text=query.text, image=_opened(query.picture, ""))
        [vector] = embedder.embed([asked])
        leading = order[: reranker.most_candidates]
        candidates = [
            Candidate(product_id=key, image=image, text=titles[key], score=float(stored[key] @ vector))
            for key in leading
            if (image := pictures[key])
        ]
        arranged = arrange(reranker.rerank(asked, candidates), [each.score for each in candidates])
        after = [*(leading[place] for place in arranged.positions), *order[len(leading) :]]
        ranks = [
            next(place for place, key in enumerate(each, 1) if key in query.relevant)
            for each in (order, after)
        ]
        measured[query.kind].append([(float(rank == 1), 1 / rank) for rank in ranks])
    yield "| query, R@1 / MRR | queries | starter | reranked | R@1 gained | MRR gained |"
    yield "|---|---|---|---|---|---|"
    for kind, rows in measured.items():
        both = np.array(rows)
        before, after_ = (" / ".join(f"{each:.2f}" for each in both[:, side].mean(axis=0)) for side in (0, 1))
        gained = (
            f"{each.mean:+.3f} [{each.low:+.3f}, {each.high:+.3f}]"
            for each in differences(both[:, 1], both[:, 0])
        )
        yield f"| {kind} | {len(rows)} | {before} | {after_} | {' | '.join(gained)} |"


def once(embed: Callable[[Sequence[Query]], Vectors]) -> Callable[[Sequence[Query]], Vectors]:
    """Embeds nothing twice."""
    known: dict[tuple[str, bytes], Any] = {}

    def embedded(queries: Sequence[Query]) -> Vectors:
        keys = [(each.text, each.image.tobytes() if each.image else b"") for each in queries]
        missing = {key: query for key, query in zip(keys, queries, strict=True) if key not in known}
        if missing:
            known.update(zip(missing, embed(list(missing.values())), strict=True))
        return np.stack([known[key] for key in keys])

    return embedded


def sheet(model: Model, items: Mapping[str, Path], queries: Sequence[Asked]) -> Image.Image:
    """A row for each query: the spoilt picture, the product that it shows, and what the model has first."""
    drawn = Image.new("RGB", (3 * CELL, len(queries) * CELL), "white")
    for row, (query, order) in enumerate(zip(queries, found(model, items, queries), strict=True)):
        shown = (
            _opened(query.picture, query.spoil),
            _opened(items[min(query.relevant)], ""),
            _opened(items[order[0]], ""),
        )
        for column, picture in enumerate(shown):
            assert picture is not None
            place = (column * CELL + CELL // 20, row * CELL + CELL // 20)
            drawn.paste(ImageOps.pad(picture, (CELL * 9 // 10, CELL * 9 // 10), color="white"), place)
    return drawn


def table(places: Places, *, held: bool) -> Iterator[str]:
    names = ["starter", "bundled", "colour histogram"]
    columns = [*names[:1], *(["starter, held out"] if held else []), *names[1:]]
    yield f"| query, R@1 / R@10 | queries | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 2) + "|"
    for kind, by_model in places.items():
        cells = []
        for name in columns:
            rows = by_model.get(name.split(",")[0], [])
            ranks = [place for place, is_held in rows if is_held or "held" not in name]
            cells.append(_figures(ranks) + (f" ({len(ranks)})" if "held" in name and ranks else ""))
        yield f"| {kind} | {len(next(iter(by_model.values())))} | {' | '.join(cells)} |"


def _figures(ranks: Sequence[int]) -> str:
    if not any(ranks):
        return "-"
    placed = np.array(ranks)
    return f"{np.mean(placed == 1):.2f} / {np.mean(placed <= 10):.2f}"


def cost() -> str:
    """Processor time of one picture and of one query, on one thread."""
    from shopsearch.embedders.photos import PhotoStarter
    from shopsearch.types import Query

    embedder = PhotoStarter()
    noise = np.random.default_rng(5).integers(0, 255, (480, 480, 3), np.uint8)
    asked = {
        "a picture": Query(image=Image.fromarray(noise)),
        "words": Query(text="white leather sneakers with a red stripe"),
    }
    found = []
    for name, query in asked.items():
        embedder.embed([query])
        spent = []
        for _ in range(30):
            start = time.process_time()
            embedder.embed([query])
            spent.append(time.process_time() - start)
        found.append(f"{name} {np.median(spent) * 1000:.0f} ms")
    return f"{embedder.dimension} numbers; processor time on one thread: {', '.join(found)}."


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")
    django.setup()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--storefront", type=Path, default=DATA / "storefront")
    parser.add_argument("--photographs", type=Path, default=DATA / "photographs")
    parser.add_argument("--folds", type=Path)
    parser.add_argument("--only", choices=["storefront", "photographs"])
    parser.add_argument("--spoilt", action="store_true")
    parser.add_argument("--reranked", action="store_true")
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    if options.spoilt:
        rows, worst = spoilt(options.storefront)
        print("\n".join(rows))
        if options.write_docs:
            put("spoilt photographs", [f"Measured {time.strftime('%Y-%m-%d')}.", "", *rows])
            worst.quantize(256).save(PICTURE, optimize=True)
        return
    if options.reranked:
        lines = [f"Measured {time.strftime('%Y-%m-%d')}.", "", *reranked(options.storefront)]
        print("\n".join(lines))
        if options.write_docs:
            put("reranked photographs", lines)
        return
    shop, clothes = measured(options)
    tables = [[*table(shop, held=True)] if shop else [], [*table(clothes, held=False)] if clothes else []]
    lines = [f"Measured {time.strftime('%Y-%m-%d')}. {cost()}", "", *tables[0], "", *tables[1]]
    print("\n".join(lines))
    if options.write_docs:
        put("photographs", lines)


if __name__ == "__main__":
    main()
