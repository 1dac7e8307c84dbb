"""The admin's page "Shop search" of a large shop: `python -m benchmarks.overview [--images 100000] [--database ...]`.

A database of its own, of which one image in a hundred has failed, each with an error of its own, and one waits. The
store is the tests' own, in memory, so its count costs nothing: what is measured is Django and the database. The first
visit loads the templates. Fails unless a visit takes at most 300 ms and the page's figures are SQL's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from benchmarks.suggestions import database, open_shop

VISITS = 15
MOST_MS = 300.0
INDEX = "shopsearch_productimage"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    with database(options.database) as given:
        open_shop(given)
        fill(options.images)
        sys.exit(report(options))


def fill(images: int) -> None:
    from shopsearch.backends import get_vector_store
    from shopsearch.models import Collection, IndexEntry, ProductImage, StoredImage
    from shopsearch.types import Entity
    from tests.shop.models import Product
    from tests.shop.pictures import RED, product
    from tests.shop.store import index_everything

    product(RED)
    index_everything()
    live, store = Collection.objects.live().get(index=INDEX), get_vector_store()
    [known] = store.fetch(live.name, list(store.ids(live.name)))
    state = IndexEntry.State
    for _ in range(1, images, 1_000):
        products = Product.objects.bulk_create([Product(title="mug", price=1) for _ in range(1_000)])
        made = ProductImage.objects.bulk_create(
            [ProductImage(product=each, image=f"{each.pk}.jpg") for each in products]
        )
        entries = IndexEntry.objects.bulk_create(
            [
                IndexEntry(
                    index=INDEX,
                    image_id=str(image.pk),
                    state={0: state.FAILED, 1: state.PENDING}.get(number % 100, state.INDEXED),
                    error=f"The file products/{image.pk}.jpg is missing; upload it."
                    if number % 100 == 0
                    else "",
                )
                for number, image in enumerate(made)
            ]
        )
        indexed = [each for each in entries if each.state == state.INDEXED]
        StoredImage.objects.bulk_create(
            [
                StoredImage(entry=each, collection=live, generation=live.generation, image_hash="0" * 64)
                for each in indexed
            ]
        )
        store.upsert(
            live.name,
            [
                Entity(
                    id=f"{each.pk:032x}",
                    image_id=each.image_id,
                    product_id=each.image_id,
                    vector=known.vector,
                    fields=known.fields,
                )
                for each in indexed
            ],
        )


def report(options: argparse.Namespace) -> int:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.db.models import Count
    from django.test import Client
    from django.test.utils import CaptureQueriesContext, setup_test_environment
    from django.urls import reverse

    from shopsearch.models import IndexEntry

    setup_test_environment()
    client = Client()
    client.force_login(User.objects.create_superuser("owner"))
    address, taken, processor = reverse("admin:shopsearch_overview_changelist"), [], []
    for _ in range(VISITS):
        begun, used = time.perf_counter(), time.process_time()
        response = client.get(address)
        taken.append(1_000 * (time.perf_counter() - begun))
        processor.append(1_000 * (time.process_time() - used))
        assert response.status_code == 200
    with CaptureQueriesContext(
        connection,
    ) as queries:
        client.get(address)
    panel = next(each for each in response.context["panels"] if each.index.name == INDEX)
    shown = {"indexed": panel.indexed, "failed": panel.failed, "waiting": panel.waiting}
    rows = IndexEntry.objects.filter(index=INDEX).order_by().values_list("state").annotate(Count("pk"))
    states = dict(rows)
    counted = {
        "indexed": states["indexed"],
        "failed": states["failed"],
        "waiting": sum(states.get(each, 0) for each in IndexEntry.UNFINISHED),
    }
    median, cold = statistics.median(taken[1:]), taken[0]
    print(f"{options.images:,} images, {options.database}, milliseconds")
    print(f"first visit   {cold:8.0f}, of the processor {processor[0]:.0f}")
    print(f"next, median  {median:8.0f}, of the processor {statistics.median(processor[1:]):.0f}")
    print(f"{len(queries)} queries; the slowest:")
    for query in sorted(queries, key=lambda each: float(each["time"]), reverse=True)[:5]:
        print(f"{1_000 * float(query['time']):8.0f}  {query['sql'][:150]}")
    print(f"shown   {shown}\ncounted {counted}")
    print("Says: " + "; ".join(str(each.sentence) for each in response.context["problems"]))
    return int(shown != counted or max(median, cold) > MOST_MS)


if __name__ == "__main__":
    main()
