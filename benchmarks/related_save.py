"""What it costs to save a row that very many images are related to: in the shop's transaction, and for workers.

    python -m benchmarks.related_save [--images 100000]

A category of so many images is saved ten times, in a database of its own; then workers fold the change. Times are
wall-clock and of the processor, with the rows that one save writes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SAVES = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        open_shop(Path(folder))
        category = fill(images)
        report(category, images)


def open_shop(folder: Path) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django
    from django.conf import settings

    settings.DATABASES["default"] = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "shop.sqlite3"),
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"},
    }
    django.setup()
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)


def fill(images: int):  # type: ignore[no-untyped-def]
    """A category with so many images, ten of each product, that are all indexed."""
    from shopsearch.models import IndexEntry, ProductImage
    from tests.shop.models import Category, Product

    category = Category.objects.create(name="shoes")
    products = Product.objects.bulk_create(
        [Product(title="shoe", price=1, category=category) for _ in range(images // 10)], batch_size=1_000
    )
    made = ProductImage.objects.bulk_create(
        [ProductImage(product=products[number // 10], image=f"{number}.jpg") for number in range(images)],
        batch_size=1_000,
    )
    IndexEntry.objects.bulk_create(
        [
            IndexEntry(
                index="shopsearch_productimage", image_id=str(image.pk), state=IndexEntry.State.INDEXED
            )
            for image in made
        ],
        batch_size=1_000,
    )
    return category


def report(category, images: int) -> None:  # type: ignore[no-untyped-def]
    from django.apps import apps

    from shopsearch.indexing import outbox

    noted = [
        each
        for each in apps.get_app_config("shopsearch").get_models()
        if each.__name__ in ("Change", "RelatedChange")
    ]
    walls, processors, rows = [], [], []
    for _ in range(SAVES):
        for model in noted:
            model.objects.all().delete()
        wall, processor = timed(category.save)
        walls.append(wall)
        processors.append(processor)
        rows.append(sum(model.objects.count() for model in noted))
    print(f"A category of {images:,} images, saved {SAVES} times")
    print(f"rows noted by a save      {statistics.median(rows):>10,.0f}")
    print(f"a save, median            {statistics.median(walls) * 1_000:10.1f} ms")
    print(f"  of the processor        {statistics.median(processors) * 1_000:10.1f} ms")

    def fold() -> None:
        slices = []
        while True:
            began = time.perf_counter()
            if not outbox.fold():
                break
            slices.append(time.perf_counter() - began)
        print(f"slices folded by workers  {len(slices):>10,}, the longest {max(slices) * 1_000:.0f} ms")

    wall, processor = timed(fold)
    print(f"all of them               {wall:10.1f} s")
    print(f"  of the processor        {processor:10.1f} s")


def timed(act: Callable[[], object]) -> tuple[float, float]:
    began, began_processor = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - began, time.process_time() - began_processor


if __name__ == "__main__":
    main()
