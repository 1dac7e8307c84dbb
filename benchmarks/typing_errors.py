"""What is understood of words as shoppers type them: typing errors, exact names, and each kind of query off and on.

    python -m benchmarks.typing_errors demo|storefront [--queries 2000] [--each 300] [--keep] [--write-docs]

The shop is that of benchmarks.search_quality, the demo with the bundled model, the photographs with the starter. An
error is a letter too many, too few, another, or two that changed places, in a word of four letters or more; all are
drawn with a seed. Errors and names are compared as a search does it, but without a store; the kinds of query are
searched in the exact store in memory. "Off" is without correction, synonyms and names. --write-docs puts the table into
docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random
from string import ascii_lowercase, digits
from typing import TYPE_CHECKING, Any
from unittest import mock

from tqdm import tqdm

from benchmarks import hybrid_search, quality_tables, search_quality

if TYPE_CHECKING:
    from shopsearch.evaluation.query_files import JudgedQuery

ROOT = search_quality.ROOT
SHORTEST = 4
EXACT, NEAR = 1_000, 200
MEANT = re.compile(r"""(?<=\d)[.,](?=\d)|[+#/°"'$€£]|(?<!\w)-(?=\d)""")
"""Signs that tell names apart."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shop", choices=("demo", "storefront"))
    parser.add_argument("--images", type=Path, default=ROOT.parent / "shared" / "data" / "storefront")
    parser.add_argument(
        "--queries", type=int, default=2_000, help="with a typing error, and as many right ones"
    )
    parser.add_argument("--each", type=int, default=300, help="of each kind of query")
    parser.add_argument("--keep", action="store_true", help="go on with the shop of the last time")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/evaluation.md")
    options = parser.parse_args()
    folder = ROOT / ".var" / f"quality-{options.shop}"
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    if options.shop == "storefront":
        os.environ["DEMO_PHOTOGRAPHS"] = "1"
    search_quality.set_up(folder)
    search_quality.stock(options.images if options.shop == "storefront" else None)

    from demo_project.catalog.models import Product

    products = list(Product.objects.filter(images__isnull=False).distinct().order_by("pk"))
    kinds = list(_kinds(products, options.each))
    if options.shop == "demo":
        from shopsearch.evaluation.query_files import QueryFile

        queries = QueryFile(path=search_quality.write_queries(folder, options.each))
        kinds = [*map(hybrid_search.of_its_language, queries), *hybrid_search.of_brands(options.each), *kinds]
    lines = [
        f"Measured {date.today()}: {len(products):,} products, in memory.",
        "",
        "| texts | found |",
        "|---|---|",
        *_typing(products, options.queries),
        *_exact(products),
        "",
        *_by_kind(kinds),
    ]
    print("\n".join(lines))
    if options.write_docs:
        quality_tables.put(f"typed {options.shop}", lines)


class Names:
    """Which product a text names, by the terms that a search compares: what is called so comes before all else.

    No vector and no store are asked, so that thousands of texts take seconds. A text that names none is counted as
    not found, though a search may find it by its words.
    """

    def __init__(self, products: Sequence[Any]) -> None:
        from shopsearch.registry import get_index

        self.index = get_index()
        self.products: dict[str, list[Any]] = {}
        for product in products:
            for term in set(self.index.terms_of(product).split()):
                self.products.setdefault(term, []).append(product)

    def named(self, text: str) -> tuple[list[Any], str]:
        """The products that are called so, or whose SKU reads so without signs; and the text corrected, or ""."""
        from shopsearch.search import engine, retrieval
        from shopsearch.search.request import SearchRequest

        asked = engine.understood(SearchRequest(text=text))
        live: Any = retrieval.live(self.index)
        no_vector: Any = None
        terms = retrieval.target(self.index, live, asked.query, no_vector, words=asked.words).terms
        called = [each for term in (terms.called if terms else ()) for each in self.products.get(term, ())]
        return called or self.products.get(terms.sku if terms else "", []), asked.words.corrected


def _typing(products: Sequence[Any], count: int) -> Iterator[str]:
    titles, names = sorted({each.title for each in products}), Names(products)
    dice = Random("typing")
    asked = [dice.choice(titles) for _ in range(count)]
    clean = [names.named(title) for title in tqdm(asked, desc="Titles")]
    typed = [names.named(with_error(title, dice)) for title in tqdm(asked, desc="Typing errors")]
    for what, found in (("titles as they are", clean), ("the same with a typing error", typed)):
        right = [
            any(each.title == title for each in named) for (named, _), title in zip(found, asked, strict=True)
        ]
        yield f"| {what}, first | {sum(right):,} of {count:,}, {sum(right) / count:.4f} |"
    yield f"| right queries that are rewritten | {sum(bool(corrected) for _, corrected in clean)} of {count:,} |"


def _exact(products: Sequence[Any]) -> Iterator[str]:
    dice, names = Random("exact"), Names(products)
    named = [getattr(each, dice.choice(["sku", "title"])) for each in dice.choices(products, k=EXACT)]
    named = [name for name in named if name]
    known = {each.sku for each in products} | {each.title for each in products}
    for how, written in (("as they are", named), ("without signs", list(map(without_signs, named)))):
        first = sum(
            any(name in (each.sku, each.title) for each in (names.named(text)[0] or _first(text))[:1])
            for name, text in zip(named, written, strict=True)
        )
        yield f"| SKUs and titles {how}, first | {first} of {len(named):,} |"
    near = [text for name in dice.choices(named, k=2 * NEAR) if (text := near_name(name, dice)) not in known]
    near = near[:NEAR]
    yield f"| near names taken for exact ones | {sum(bool(names.named(text)[0]) for text in near)} of {len(near)} |"


def _first(text: str) -> list[Any]:
    """What a search finds first: "Kettle 1 7L" names nothing, and its words find the kettle of 1.7 litres."""
    from shopsearch.search import search

    return [result.product for result in search(text, limit=1).results]


def _kinds(products: Sequence[Any], each: int) -> Iterator[JudgedQuery]:
    """Titles as people write them, in part, with an error, and SKUs."""
    from shopsearch.evaluation.query_files import JudgedQuery
    from shopsearch.registry.analyzer import plain

    dice = Random("kinds")
    words = {product.pk: set(plain(product.title).split()) for product in products}
    for number in range(each):
        product = dice.choice(products)
        alike = {str(other.pk): 1 for other in products if other.title == product.title}
        part = dice.sample(sorted(words[product.pk]), min(3, len(words[product.pk])))
        having = {str(pk): 1 for pk, own in words.items() if own.issuperset(part)}
        for kind, text, relevant in (
            ("exact title", hybrid_search.as_written(product.title, dice), alike),
            ("title with a typing error", with_error(product.title, dice), alike),
            ("up to three words of a title", " ".join(part), having),
            ("exact SKU", hybrid_search.as_written(product.sku, dice), {str(product.pk): 1}),
        ):
            if text:
                yield JudgedQuery(id=f"{kind} {number}", text=text, kind=kind, relevant=relevant)


def _by_kind(queries: Sequence[JudgedQuery]) -> Iterator[str]:
    right: dict[str, list[tuple[bool, bool]]] = {}
    for query in tqdm(queries, desc="Kinds"):
        with _off():
            before = _is_right(query)
        right.setdefault(query.kind, []).append((before, _is_right(query)))
    yield "| queries | number | R@1: off | R@1: on |"
    yield "|---|---|---|---|"
    for kind, both in right.items():
        off, on = (sum(each[place] for each in both) / len(both) for place in (0, 1))
        yield f"| {kind} | {len(both)} | {off:.3f} | {on:.3f} |"


def _off() -> ExitStack:
    """Words as they were before: neither corrected, nor with synonyms, nor compared as names."""
    from shopsearch.conf import settings
    from shopsearch.registry import analyzer

    terms = analyzer.query_terms
    off = ExitStack()
    off.enter_context(
        mock.patch.dict(settings._cache, CORRECT_TYPING=False, SYNONYMS=False, STARTER_SYNONYMS=False)
    )
    off.enter_context(
        mock.patch.object(
            analyzer, "query_terms", lambda *args, **given: terms(*args, **given | {"names": ()})
        )
    )
    return off


def _is_right(query: JudgedQuery) -> bool:
    from shopsearch.search.engine import answer
    from shopsearch.search.examples import of_picture
    from shopsearch.search.request import SearchRequest

    asked = SearchRequest(text=query.text, examples=of_picture(_decoded(query.image)), limit=1, rules=())
    found = answer(replace(asked, language=query.language or asked.language)).results
    return bool(found) and query.relevant.get(str(found[0].product.pk), 0) == max(query.relevant.values())


def _decoded(content: bytes | None) -> Any:
    from shopsearch.images import decode

    return None if content is None else decode(content)


def with_error(text: str, dice: Random) -> str:
    """The text with one typing error."""
    from shopsearch.registry.analyzer import WORD

    words = [match for match in WORD.finditer(text) if len(match.group()) >= SHORTEST]
    if not words:
        return text
    match = dice.choice(words)
    word, place = match.group(), dice.randrange(len(match.group()) - 1)
    letter, rest = dice.choice(ascii_lowercase), word[place + 1 :]
    word = word[:place] + dice.choice(
        [letter + word[place:], rest, letter + rest, rest[0] + word[place] + rest[1:]]
    )
    return text[: match.start()] + word + text[match.end() :]


def without_signs(name: str) -> str:
    """A SKU without any; a title without those that mean nothing: "4.2L" is not "42L", nor is "C++" "C"."""
    if " " not in name:
        return "".join(filter(str.isalnum, name))
    return "".join(
        each if each.isalnum() or MEANT.match(name, place) else " " for place, each in enumerate(name)
    )


def near_name(name: str, dice: Random) -> str:
    """The name with another digit or sign, or one more at its end."""
    places = [place for place, each in enumerate(name) if each in digits]
    if not places:
        return name + dice.choice([" 2", "+", "#", " 1/2"])
    place = dice.choice(places)
    return name[:place] + dice.choice([each for each in digits if each != name[place]]) + name[place + 1 :]


if __name__ == "__main__":
    main()
