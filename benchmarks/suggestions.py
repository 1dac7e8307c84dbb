"""What suggestions while typing cost in a large shop, in processor time, with SQLite and with PostgreSQL.

    python -m benchmarks.suggestions [--database sqlite|postgresql] [--products 100000] [--requests 2000] [--quick]

Titles are five or six words, some of them in a tenth of all products. What is typed is the beginning of one to three
words of a title, from two characters on, and sometimes of words that stand in different titles. Each request goes
through the whole view. Where the database is a server, its processor time is told and counted too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.related_save import timed

KINDS = (
    "mug shirt shoes shorts shelf lamp chair table plate bowl dress skirt jacket boots sandals bag wallet belt "
    "scarf hat gloves watch ring necklace phone case cable charger keyboard mouse monitor speaker headphones camera "
    "tripod backpack tent lantern bottle knife"
)
LOOKS = (
    "red blue green black white striped spotted floral leather cotton linen wool silk wooden steel glass large small "
    "slim vintage classic modern portable waterproof bluetooth"
)
SYLLABLES = "ba be bo da de do ka ke ki la le lo ma me mi na ne ni ra re ri sa se so ta te to va ve vi"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--quick", action="store_true", help="10,000 products and 300 requests")
    options = parser.parse_args()
    if options.quick:
        options.products, options.requests = 10_000, 300
    with database(options.database) as given:
        open_shop(given)
        fill(options.products)
        report(options)


@contextmanager
def database(kind: str) -> Iterator[dict[str, Any]]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(folder) / "shop.sqlite3"),
                "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"},
            }
        return
    from tests.services.postgres import PostgresCluster

    cluster = PostgresCluster(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]).start()
    try:
        yield cluster.create_database("shop")
    finally:
        cluster.stop()


def open_shop(given: dict[str, Any]) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django
    from django.conf import settings

    settings.DATABASES["default"] = given
    settings.SHOPSEARCH["THROTTLE_RATE"] = None
    django.setup()
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)


def fill(products: int) -> None:
    from shopsearch.indexing import vocabulary
    from shopsearch.models import ProductImage, Suggestion
    from shopsearch.registry import get_index
    from tests.shop.models import Category, Product

    type(get_index()).words = ("title",)
    dice = Random("suggestions")
    kinds, looks, syllables = KINDS.split(), LOOKS.split(), SYLLABLES.split()
    brands = ["".join(dice.choices(syllables, k=3)).capitalize() for _ in range(1_500)]
    lines = ["".join(dice.choices(syllables, k=4)) for _ in range(8_000)]
    categories = Category.objects.bulk_create([Category(name=kind.capitalize()) for kind in kinds])
    made = []
    for number in range(products):
        kind = dice.randrange(len(kinds))
        words = [dice.choice(brands), *dice.sample(looks, 2), kinds[kind], dice.choice(lines)]
        title = " ".join([*words, str(number)] if number % 3 else words)
        made.append(Product(title=title, price=1, category=categories[kind]))
    Product.objects.bulk_create(made, batch_size=1_000)
    ProductImage.objects.bulk_create(
        [ProductImage(product=each, image=f"{each.pk}.jpg") for each in Product.objects.all()],
        batch_size=1_000,
    )
    wall, processor = timed(lambda: vocabulary.recount(get_index()))
    print(
        f"{products:,} products counted the first time in {wall:.0f} s ({processor:.0f} s of the processor):"
    )
    print(f"  {Suggestion.objects.count():,} suggestions")
    wall, _ = timed(lambda: vocabulary.recount(get_index()))
    print(f"  and once more, when nothing changed, in {wall:.0f} s")
    from django.db import connection

    if connection.vendor == "postgresql":  # what autovacuum does within a minute
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def typed(dice: Random) -> str:
    """The beginning of some words of a title, as a shopper types it."""
    from tests.shop.models import Product

    def title() -> list[str]:
        return str(Product.objects.values_list("title", flat=True)[dice.randrange(1_000)]).split()

    words = title()
    first = dice.randrange(len(words))
    chosen = words[first : first + dice.choice([1, 1, 1, 2, 2, 3])]
    if dice.random() < 0.1:
        chosen = [dice.choice(chosen), dice.choice(title())]
    last = chosen[-1]
    fewest = min(len(last), 2 if len(chosen) == 1 else 1)
    return " ".join([*chosen[:-1], last[: dice.randint(fewest, len(last))]])


def report(options: argparse.Namespace) -> None:
    from django.db import connection
    from django.test import Client

    client, dice = Client(), Random("typing")
    texts = [typed(dice) for _ in range(options.requests)]
    client.get("/api/suggest/", {"q": "mug"})  # the process reads the vocabulary once
    walls, processors, answered, found = [], [], [], 0
    for text in texts:
        before = server_seconds(connection)
        began, began_processor = time.perf_counter(), time.process_time()
        answer = client.get("/api/suggest/", {"q": text}).json()
        processors.append((time.process_time() - began_processor) * 1_000)
        walls.append((time.perf_counter() - began) * 1_000)
        answered.append((server_seconds(connection) - before) * 1_000)
        found += bool(answer["products"])
    print(f"{options.database}, {options.requests:,} requests, {found / len(texts):.0%} with products; ms")
    if connection.vendor == "postgresql":
        whole = [own + server for own, server in zip(processors, answered, strict=True)]
        told("processor, with the server's", whole)
    told("processor, of the web process", processors)
    told("wall clock", walls)
    worst = sorted(zip(processors, texts, strict=True))[-3:]
    print("  dearest:", ", ".join(f"{text!r} {each:.0f}" for each, text in reversed(worst)))


def server_seconds(connection: Any) -> float:
    """Of the processor, that the connection's own server process has taken; 0 for a database without a server."""
    if connection.vendor != "postgresql":
        return 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    fields = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(fields[0]) / 1e9


def told(name: str, values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100)
    print(f"  {name:42} p50 {cuts[49]:6.1f}  p95 {cuts[94]:6.1f}  p99 {cuts[98]:6.1f}")


if __name__ == "__main__":
    main()
