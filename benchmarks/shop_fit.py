"""What a fit to a shop's own titles gains on real pictures, and whether weak matches are told from good ones.

    python -m benchmarks.shop_fit [--embedder starter|bundled] [--write-docs]

Over ../shared/data/storefront, 194 products of open-source shops. First title -> product, alone and fitted, on thirds
kept aside, for several seeds. Then 20 shops of 50 to 190 of the products, drawn at random: whether an adapter would go
live, what it changes there on thirds drawn by other seeds, and for the products that the shop lacks; and 20 more shops,
on which nothing was tried. Last, as a worker calibrates by itself: which of 200 searches for what is sold and of 200
for what is not are called weak. No server; a few minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import django
import numpy as np
from PIL import Image

from benchmarks.photographs import DATA, once

if TYPE_CHECKING:
    from shopsearch.embedders.base import Embedder
    from shopsearch.evaluation.calibrator import Scores
    from shopsearch.evaluation.fitting import Titled
    from shopsearch.search.spelling import Spelling
    from shopsearch.types import Vectors

SEEDS = range(5)
SHOPS = 20
QUERIES = 200
MIN_OTHERS = 40
"""Of fewer products that a shop lacks, one alone would decide."""


class Shop:
    """Storefront's products and pictures under one embedder, alone or fitted."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        from shopsearch.evaluation.fitting import MAX_IMAGES, Titled
        from shopsearch.types import Query

        self.embedder = embedder
        self.embedder.embed = once(embedder.embed)  # type: ignore[method-assign]
        self.rows = [json.loads(line) for line in (folder / "products.jsonl").read_text().splitlines()]
        files = [(place, file) for place, row in enumerate(self.rows) for file in row["images"][:MAX_IMAGES]]
        self.pictures = [Image.open(folder / file).convert("RGB") for _, file in files]
        titles = [row["name"] for row in self.rows]
        self.titled = Titled(
            titles=titles,
            texts=_embedded(embedder, [Query(text=title) for title in titles]),
            words=_embedded(embedder, [Query(text=words_of(row)) for row in self.rows]),
            images=_embedded(embedder, [Query(image=picture) for picture in self.pictures]),
            owners=np.array([place for place, _ in files]),
        )

    def part(self, places: Sequence[int]) -> Titled:
        """A shop of these products alone."""
        from shopsearch.evaluation.fitting import Titled

        number = {place: new for new, place in enumerate(places)}
        kept = np.isin(self.titled.owners, places)
        return Titled(
            titles=[self.titled.titles[place] for place in places],
            texts=self.titled.texts[list(places)],
            words=self.titled.words[list(places)],
            images=self.titled.images[kept],
            owners=np.array([number[int(owner)] for owner in self.titled.owners[kept]]),
        )


def _embedded(embedder: Embedder, queries: Sequence[Any]) -> Vectors:
    size = embedder.batch_size
    return np.concatenate(
        [embedder.embed(queries[start : start + size]) for start in range(0, len(queries), size)]
    )


def titles(shop: Shop) -> Iterator[str]:
    """Title -> product on products kept aside."""
    from shopsearch.evaluation.fitting import prove

    yield "| title -> product, held out | R@1 | R@10 | MRR |"
    yield "|---|---|---|---|"
    for seed in SEEDS:
        proof = prove(shop.titled, shop.embedder, seed=seed)
        if not seed:
            yield f"| alone | {' | '.join(f'{each:.3f}' for each in proof.before)} |"
            yield f"| alone, with words | {' | '.join(f'{each:.3f}' for each in by_vectors_and_words(shop))} |"
        cells = (
            f"{after:.3f} ({each.mean:+.3f} [{each.low:+.3f}, {each.high:+.3f}])"
            for after, each in zip(proof.after, proof.gained, strict=True)
        )
        yield f"| fitted, seed {seed} | {' | '.join(cells)} |"


def by_vectors_and_words(shop: Shop) -> Scores:
    """R@1, R@10 and MRR of titles, as an index searches that declares title and category."""
    from shopsearch.conf import settings
    from shopsearch.registry.analyzer import query_terms
    from shopsearch.search.retrieval import FUSED_HITS, fused
    from shopsearch.testing.vector_stores import bm25
    from shopsearch.types import Hit

    titled, measured = shop.titled, []
    owners = [str(owner) for owner in titled.owners]
    stored = {str(place): terms_of(row) for place, row in enumerate(shop.rows)}
    for title, vector in zip(titled.titles, titled.texts, strict=True):
        asked = query_terms(title, "en")
        answers = bm25(asked.text, stored)
        hits = [
            Hit(id=str(place), image_id=str(place), product_id=owner, score=float(score), words=stored[owner])
            for place, (owner, score) in enumerate(zip(owners, titled.images @ vector, strict=True))
        ]
        by_vectors = sorted(hits, key=lambda hit: -hit.score)[:FUSED_HITS]
        by_words = [hit for hit in hits if hit.product_id in answers]
        by_words.sort(key=lambda hit: -answers[hit.product_id])
        order = fused(by_vectors, by_words[:FUSED_HITS], asked=asked, weight=settings.WORDS_WEIGHT)
        found = dict.fromkeys(titled.titles[int(hit.product_id)].casefold() for hit in order)
        rank = list(found).index(title.casefold()) + 1
        measured.append([rank == 1, rank <= 10, 1 / rank])
    return np.mean(measured, axis=0)


def shops(shop: Shop) -> Iterator[str]:
    """Whether an adapter ever makes a small shop worse: on divisions of its products that the proof has not seen, and
    for the products of storefront that are not in the shop, as if they were added later."""
    from shopsearch.evaluation.fitting import PROOF_MEASURES, prove

    yield f"| {SHOPS} shops of 50 to 190 products | get an adapter | {' | '.join(PROOF_MEASURES)} |"
    yield "|---" * (len(PROOF_MEASURES) + 2) + "|"
    for drawing in ("shop", "fresh shop"):
        divided, added = [], []
        for number in range(SHOPS):
            dice = Random(f"{drawing} {number}")
            drawn = sorted(dice.sample(range(len(shop.rows)), dice.randint(50, 190)))
            part = shop.part(drawn)
            if prove(part, shop.embedder, seed=number).is_better:
                proofs = [prove(part, shop.embedder, seed=1_000 * again + number) for again in range(1, 4)]
                divided.append(np.mean([[each.mean for each in proof.gained] for proof in proofs], axis=0))
                added += gained_by_others(shop, drawn)
        for what, gained in (("other divisions", divided), ("products added later", added)):
            cells = (
                f"{mean:+.3f}, at worst {worst:+.3f}"
                for mean, worst in zip(np.mean(gained, axis=0), np.min(gained, axis=0), strict=True)
            )
            yield f'| "{drawing}", {what} | {len(gained)} | {" | ".join(cells)} |'


def gained_by_others(shop: Shop, drawn: Sequence[int]) -> list[Scores]:
    """What the products that are not drawn gain together, searched for among all; none if they are few."""
    from shopsearch.embedders.adapted import AdaptedEmbedder
    from shopsearch.evaluation import fitting

    titled = shop.titled
    families = fitting._families(titled.titles)
    known = {families[place] for place in drawn}
    others = np.array([place for place in range(len(families)) if families[place] not in known])
    if len(others) < MIN_OTHERS:
        return []
    numbers = fitting.fit(shop.part(drawn))
    adapted = AdaptedEmbedder(embedder=shop.embedder, numbers=numbers, weight=fitting.WEIGHT)
    before = fitting._measured(titled, titled.images, titled.texts, others)
    after = fitting._measured(
        titled, adapted.adapt(titled.images), adapted.adapt(titled.texts, "text"), others
    )
    return [(after - before).mean(axis=0)]


def weak_matches(shop: Shop) -> Iterator[str]:
    """Of searches for what is sold and for what is not, how many are called weak, alone and fitted."""
    from shopsearch.embedders.adapted import AdaptedEmbedder
    from shopsearch.evaluation.calibrator import SAMPLE_SIZE, Sample, measure
    from shopsearch.evaluation.fitting import WEIGHT, fit
    from shopsearch.types import Query

    adapted = AdaptedEmbedder(embedder=shop.embedder, numbers=fit(shop.titled), weight=WEIGHT)
    images = {"alone": shop.titled.images, "fitted": adapted.adapt(shop.titled.images)}
    sold, unsold = sold_queries(shop.rows), unsold_queries(shop.rows)
    chosen = Random("calibration").sample(range(len(shop.pictures)), min(SAMPLE_SIZE, len(shop.pictures)))
    owners = shop.titled.owners
    stored = [terms_of(row) for row in shop.rows]
    vocabulary = vocabulary_of(shop.rows)
    yield "| called weak | 200 searches for what is sold | 200 for what is not |"
    yield "|---|---|---|"
    for name, embedder in (("alone", shop.embedder), ("fitted", adapted)):
        held = images[name]

        def best(vectors: Vectors, without: Sequence[str], held: Vectors = held) -> Scores:
            scores = np.asarray(vectors @ held.T, np.float64)
            for row, product in zip(scores, without, strict=True):
                if product:
                    row[owners == int(product)] = -1
            return np.asarray(scores.max(axis=1))

        samples = [
            Sample(
                product_id=str(owners[place]),
                text=shop.titled.titles[owners[place]],
                image=shop.pictures[place],
                vector=held[place],
            )
            for place in chosen
        ]
        typical = held[chosen].mean(axis=0)
        for by_words in (False, True):
            measured = measure(
                samples, index="", embedder=embedder, typical=typical, best=best, finds_by_words=by_words
            )
            [text] = [each.calibration for each in measured if each.calibration.kind == "text"]
            shares = []
            for queries in (sold, unsold):
                vectors = _embedded(embedder, [Query(text=each) for each in queries])
                scores = best(vectors, [""] * len(queries))
                flagged = [
                    score < text.weak_below(vector)
                    and not (by_words and has_its_words(query, stored, vocabulary))
                    for query, score, vector in zip(queries, scores, vectors, strict=True)
                ]
                shares.append(np.mean(flagged))
            found = "vectors and words" if by_words else "vectors"
            yield f"| {name}, by {found} | {shares[0]:.1%} | {shares[1]:.1%} |"


def words_of(row: Any) -> str:
    """What an index that declares title, description, brand and category says of the product."""
    category = row["categories"][0].split("/")[-1] if row["categories"] else ""
    return " ".join(filter(None, (row["name"], row["description"], row["brand"], category)))


def terms_of(row: Any) -> str:
    """What an index that declares title and category stores of the product."""
    from shopsearch.registry.analyzer import product_terms

    return product_terms([row["name"], *row["categories"][:1]], [row["name"]], "en")


def vocabulary_of(rows: Sequence[Any]) -> Spelling:
    """What such an index knows of its words."""
    from shopsearch.registry.analyzer import written_words
    from shopsearch.search.spelling import Spelling

    words = (word for row in rows for word in written_words([row["name"], *row["categories"][:1]]))
    return Spelling(words=Counter(words), language="en")


def has_its_words(query: str, stored: Sequence[str], vocabulary: Spelling) -> bool:
    """Whether a product has most of the query's rare words."""
    from shopsearch.registry.analyzer import query_terms

    terms = query_terms(query, "en", rarity=vocabulary.rarity)
    return any(terms.mostly_in(each) for each in stored)


def sold_queries(rows: Sequence[Any]) -> list[str]:
    """What the shop calls its products and its categories."""
    names = [row["name"] for row in rows]
    categories = sorted({row["categories"][0].split("/")[-1] for row in rows if row["categories"]})
    return Random("sold").sample([*names, *categories], QUERIES)


def unsold_queries(rows: Sequence[Any]) -> list[str]:
    """Things alone, and things in a colour, that are among no words of the shop."""
    from demo_project.rendering.absences import ABSENT_THINGS
    from demo_project.rendering.palettes import COLOURS
    from shopsearch.evaluation.calibrator import FOREIGN_WORDS

    own = " ".join(json.dumps(row) for row in rows).lower()
    foreign = {" ".join(word.split()) for word in FOREIGN_WORDS}
    things = [each for each in ABSENT_THINGS["en"] if each not in foreign and each.lower() not in own]
    dice = Random("unsold")
    return [
        thing if number < QUERIES // 2 else f"{dice.choice(list(COLOURS))} {thing}"
        for number in range(QUERIES)
        for thing in [dice.choice(things)]
    ]


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")
    django.setup()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--storefront", type=Path, default=DATA / "storefront")
    parser.add_argument("--embedder", choices=["starter", "bundled"], default="starter")
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args()
    from shopsearch.embedders.photos import PhotoStarter
    from shopsearch.embedders.visualized_bge import VisualizedBGE

    shop = Shop(options.storefront, PhotoStarter() if options.embedder == "starter" else VisualizedBGE())
    lines = [f"Measured {time.strftime('%Y-%m-%d')}, {options.embedder}."]
    for part in (titles(shop), shops(shop), weak_matches(shop)):
        lines.append("")
        for line in part:
            print(line, flush=True)
            lines.append(line)
    if options.write_docs:
        from benchmarks.quality_tables import put

        put("shop fit", lines)


if __name__ == "__main__":
    main()
