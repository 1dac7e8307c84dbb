"""A program that keeps a shop: saves and deletes products and pictures until its standard input is closed.

At the end it prints, as JSON, what it did, what of that failed, and how long the slowest took.
"""

import json
import random
import sys
import threading
import time

import django

django.setup()

from shopsearch.models import ProductImage  # noqa: E402
from tests.services import celery  # noqa: E402, F401  # a shop knows its Celery application
from tests.shop.models import Product  # noqa: E402
from tests.shop.pictures import picture, product  # noqa: E402

MOST_PRODUCTS = 60
PAUSE_SECONDS = 0.02


class Shopkeeper:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def colour(self):
        return tuple(self.random.randrange(256) for _ in range(3))

    def one(self, model):
        return self.random.choice(list(model.objects.order_by("pk")[:200]))

    def open(self):
        for _ in range(20):
            self.add()

    def add(self):
        product(*(self.colour() for _ in range(self.random.randint(1, 3))), price=self.random.randrange(100))

    def reprice(self):
        changed = self.one(Product)
        changed.price, changed.tags = self.random.randrange(100), [str(self.random.randrange(9))]
        changed.save()

    def hide_or_show(self):
        changed = self.one(Product)
        changed.published = not changed.published
        changed.save()

    def replace_picture(self):
        self.one(ProductImage).image.save("picture.png", picture(self.colour()))

    def delete_picture(self):
        if ProductImage.objects.count() > 10:
            self.one(ProductImage).delete()

    def delete(self):
        if Product.objects.count() > 10:
            self.one(Product).delete()

    def work(self, until):
        did, failed, slowest = {}, [], 0.0
        acts = [
            self.add,
            self.reprice,
            self.hide_or_show,
            self.replace_picture,
            self.delete_picture,
            self.delete,
        ]
        while not until.is_set():
            act = self.random.choice(acts)
            if act == self.add and Product.objects.count() >= MOST_PRODUCTS:
                continue
            begun = time.perf_counter()
            try:
                act()
            except Exception as error:
                failed.append(f"{act.__name__}: {error!r}")
            slowest = max(slowest, time.perf_counter() - begun)
            did[act.__name__] = did.get(act.__name__, 0) + 1
            time.sleep(PAUSE_SECONDS)
        return {"did": did, "failed": failed, "slowest_milliseconds": round(1_000 * slowest, 1)}


if __name__ == "__main__":
    keeper, stop = Shopkeeper(int(sys.argv[1])), threading.Event()
    if not Product.objects.exists():
        keeper.open()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    json.dump(keeper.work(stop), sys.stdout)
