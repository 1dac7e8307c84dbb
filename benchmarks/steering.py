"""What steering is worth over the demo's shop: "A, not B" against A alone, and a part of a picture against all of it.

    python -m benchmarks.steering [--queries 300] [--scenes 300] [--seed steering]

"A, not B": A is a product. Half of the queries are a shopper's who looks at what is like A and marks one of the first
nine that differs from it in one respect, its kind or its print: that kind or print is unwanted, what shares the other
respect with A is wanted. The other half ask for what A has, but not for what it has in common with B: "like this mug,
but no mugs". nDCG@9 and unwanted hits among the first nine, with 95 % intervals of the difference. "A without B" is
like A alone, but for B itself, which nobody sees who has marked it.

A part of a picture: scenes of two to four products of the shop, drawn anew; one of them is looked for, by the scene
and by a box around it that is a little off. R@1: the first result is that product.

The shop is that of benchmarks.search_quality. Latency is processor time of interleaved runs, with the store in memory.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import mean, median
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from benchmarks import search_quality

FIRST = 9
SCENE, OBJECT = 640, 300
"""Pixels."""


@dataclass(frozen=True)
class Judged:
    """A query: more like ``a``, less like ``b``."""

    a: Any
    b: Any
    grades: dict[str, int]
    """What is wanted, by the product's key: 2 for what is like A in every wanted respect."""
    unwanted: frozenset[str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--seed", default="steering")
    options = parser.parse_args()
    folder = search_quality.ROOT / ".var" / "steering"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    search_quality.set_up(folder)
    search_quality.stock()
    _examples(options.queries, options.seed)
    _latency()
    _diversity()
    _scenes(options.scenes, options.seed)


# A, not B


def _examples(count: int, seed: str) -> None:
    from demo_project.catalog.models import Product

    products = list(Product.objects.select_related("category").order_by("pk"))
    marked = _marked(products, Random(f"{seed} marked"), count // 2)
    shared = _shared(products, Random(f"{seed} shared"), count - count // 2)
    print(f"{'':34}{'nDCG@9':>8}{'unwanted':>10}")
    for name, queries in (
        ("a marked result", marked),
        ("not what they share", shared),
        ("all", marked + shared),
    ):
        alone = [_measured(each, _found(each.a), each.grades) for each in queries]
        without = [_measured(each, _found(each.a, leave_out=each.b), each.grades) for each in queries]
        steered = [_measured(each, _found(each.a, each.b), each.grades) for each in queries]
        for label, measured in (("A alone", alone), ("A without B", without), ("A, not B", steered)):
            ndcg, unwanted = (mean(each[place] for each in measured) for place in (0, 1))
            print(f"{name + ', ' + label:34}{ndcg:8.3f}{unwanted:10.2f}")
        gain = np.array([after[0] - before[0] for before, after in zip(alone, steered, strict=True)])
        margin = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
        print(f"  {len(queries)} queries; nDCG@9 of A, not B over A alone: {gain.mean():+.3f} ± {margin:.3f}")


def _marked(products: Sequence[Any], dice: Random, count: int) -> list[Judged]:
    by_key = {str(each.pk): each for each in products}
    queries: list[Judged] = []
    while len(queries) < count:
        a = dice.choice(products)
        seen = [by_key[key] for key in _found(a)]
        odd = [each for each in seen if (each.category != a.category) != (each.pattern != a.pattern)]
        if not odd:
            continue
        b = dice.choice(odd)
        is_unwanted: Callable[[Any], bool] = (
            _has("category", b) if b.category != a.category else _has("pattern", b)
        )
        queries.append(_judged(products, a, b, is_unwanted, ("category", "pattern")))
    return queries


def _shared(products: Sequence[Any], dice: Random, count: int) -> list[Judged]:
    queries: list[Judged] = []
    while len(queries) < count:
        a = dice.choice(products)
        unwanted, wanted = dice.choice([("category", "pattern"), ("pattern", "category")])
        others = [
            each
            for each in products
            if getattr(each, unwanted) == getattr(a, unwanted) and getattr(each, wanted) != getattr(a, wanted)
        ]
        judged = _judged(products, a, dice.choice(others), _has(unwanted, a), (wanted,)) if others else None
        if judged and len(judged.grades) >= FIRST:
            queries.append(judged)
    return queries


def _has(field: str, product: Any) -> Callable[[Any], bool]:
    value = getattr(product, field)
    return lambda each: getattr(each, field) == value


def _judged(
    products: Sequence[Any], a: Any, b: Any, is_unwanted: Callable[[Any], bool], wanted: Sequence[str]
) -> Judged:
    others = [each for each in products if each not in (a, b)]
    grades = {
        str(each.pk): grade
        for each in others
        if not is_unwanted(each) and (grade := sum(_has(field, a)(each) for field in wanted))
    }
    return Judged(a, b, grades, frozenset(str(each.pk) for each in products if is_unwanted(each)))


def _found(a: Any, b: Any = None, *, leave_out: Any = None) -> list[str]:
    from shopsearch.search.engine import answer
    from shopsearch.search.examples import Example
    from shopsearch.search.request import SearchRequest

    examples = [Example(product=a.pk), *([Example(product=b.pk, weight=-1)] if b else [])]
    results = answer(SearchRequest(examples=examples, limit=FIRST + 1)).results
    return [str(each.product.pk) for each in results if each.product != leave_out][:FIRST]


def _measured(query: Judged, found: Sequence[str], grades: dict[str, int]) -> tuple[float, int]:
    """nDCG@9, and how many of the first nine are unwanted."""
    discounts = 1 / np.log2(np.arange(FIRST) + 2)
    gains = np.array([grades.get(key, 0) for key in found] + [0] * (FIRST - len(found)))
    ideal = np.array(sorted(grades.values(), reverse=True)[:FIRST] + [0] * max(0, FIRST - len(grades)))
    best = float((ideal * discounts).sum())
    ndcg = float((gains * discounts).sum()) / best if best else 1.0
    return ndcg, sum(key in query.unwanted for key in found)


def _latency(runs: int = 300) -> None:
    """Processor time of a steered search with one wanted and four unwanted products, against similar products."""
    from demo_project.catalog.models import Product
    from shopsearch.search.engine import answer
    from shopsearch.search.examples import Example
    from shopsearch.search.request import SearchRequest

    keys, dice = list(Product.objects.values_list("pk", flat=True)), Random("latency")
    taken: dict[int, list[float]] = {1: [], 2: [], 5: []}
    for _ in range(runs):
        drawn = dice.sample(keys, 5)
        for count, times in taken.items():
            examples = [
                Example(product=key, weight=-1 if place else 1) for place, key in enumerate(drawn[:count])
            ]
            start = time.process_time()
            answer(SearchRequest(examples=examples))
            times.append(time.process_time() - start)
    similar = median(taken[1])
    print(f"similar products: {similar * 1000:.1f} ms of processor time, 24 results")
    for count in (2, 5):
        print(f"  with {count} examples: {median(taken[count]) / similar:.2f} times as much")


# Diversity


def _diversity(queries: int = 200, copies: int = 6) -> None:
    """A shop in which each product stands six times, nearly the same: how many different ones a page shows."""
    from demo_project.catalog.models import Product
    from shopsearch.backends import get_vector_store
    from shopsearch.registry import get_index
    from shopsearch.search import retrieval
    from shopsearch.search.diversity import LEADING, diversified
    from shopsearch.types import Hit

    live = retrieval.live(get_index())
    assert live is not None
    store, known = get_vector_store(), Product.objects.in_bulk()
    held = store.fetch(live.name, list(store.ids(live.name)))
    products = [known[int(each.product_id)] for each in held]
    vectors = np.stack([each.vector for each in held])
    noise = np.random.default_rng(1).normal(size=(copies, *vectors.shape)) / vectors.shape[1] ** 0.5
    copied = (0.97 * vectors + (1 - 0.97**2) ** 0.5 * noise).reshape(-1, vectors.shape[1])
    copied /= np.linalg.norm(copied, axis=1, keepdims=True)
    asked = Random("diversity").choices(range(len(products)), k=queries)
    print(f"each product {copies} times, first nine of what is like one: different products, mean grade of 2")
    for diversity in (0, 0.1, 0.3, 0.5, 0.7):
        different, grades = [], []
        for place in asked:
            nearest = np.argsort(-(copied @ vectors[place]))[:LEADING]
            ranked = [Hit(id=str(row), image_id="", product_id="", score=0) for row in nearest]
            order = diversified(ranked, {str(row): copied[row] for row in nearest}, diversity)
            shown = [int(hit.id) % len(products) for hit in order[:FIRST]]
            different.append(len(set(shown)))
            a = products[place]
            grades += [
                sum(_has(field, a)(products[each]) for field in ("category", "pattern")) for each in shown
            ]
        print(f"  {diversity:4}{mean(different):6.2f}{mean(grades):6.2f}")


# A part of a picture


def _scenes(count: int, seed: str) -> None:
    from demo_project.catalog.assortment import articles
    from demo_project.catalog.models import Product
    from shopsearch.search.engine import answer
    from shopsearch.search.examples import Example
    from shopsearch.search.request import SearchRequest

    dice = Random(f"{seed} scenes")
    keys = dict(Product.objects.values_list("slug", "pk"))
    right = {"all of the picture": 0, "the part": 0}
    for _ in range(count):
        chosen = dice.sample(articles(), dice.randint(2, 4))
        picture, boxes = scene(chosen, dice)
        place = dice.randrange(len(chosen))
        for name, box in (("all of the picture", None), ("the part", boxes[place])):
            results = answer(SearchRequest(examples=[Example(image=picture, box=box)], limit=1)).results
            right[name] += bool(results) and results[0].product.pk == keys[chosen[place].slug]
    print(f"{count} scenes of two to four products, R@1 of one of them:")
    for name, number in right.items():
        print(f"  {name:20} {number / count:.3f}")


def scene(chosen: Sequence[Any], dice: Random) -> tuple[Image.Image, list[Any]]:
    """A picture of these articles, in new views, and a box around each as a shopper would draw it."""
    from demo_project.rendering.products import STUDIO, product_picture
    from shopsearch.search.examples import Box

    grey = dice.randint(228, 250)
    picture = Image.new("RGB", (SCENE, SCENE), (grey, grey, grey))
    corners = dice.sample([(0, 0), (0, 1), (1, 0), (1, 1)], len(chosen))
    boxes = []
    for article, corner in zip(chosen, corners, strict=True):
        drawn = product_picture(
            article.category,
            article.pattern,
            article.colour,
            design=article.design,
            view=dice.randint(100, 999),
            size=OBJECT,
            style=STUDIO,
        )
        left, top = (part * SCENE // 2 + dice.randint(0, SCENE // 2 - OBJECT) for part in corner)
        under = picture.crop((left, top, left + OBJECT, top + OBJECT))
        picture.paste(
            ImageChops.multiply(under, drawn), (left, top)
        )  # a light background lets the scene through
        off = [dice.uniform(0, 0.12) * OBJECT for _ in range(4)]
        boxes.append(
            Box(
                x=(left + off[0]) / SCENE,
                y=(top + off[1]) / SCENE,
                width=(OBJECT - off[0] - off[2]) / SCENE,
                height=(OBJECT - off[1] - off[3]) / SCENE,
            )
        )
    return picture, boxes


if __name__ == "__main__":
    main()
