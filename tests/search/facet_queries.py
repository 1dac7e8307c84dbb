"""A shop to count in, random filters, and two oracles of their facets: plain Python, and SQL written by hand."""

import random
from collections import Counter, defaultdict

from django.db import connection

from shopsearch.models import ProductImage
from tests.shop.models import Category, Product

CATEGORIES = ["mugs", "plates", "Mugs", "lamps' shades", 'the "best"', "مصابيح", "100 %", ""]
TAGS = ["new", "sale", "gift", "blue, striped", "c'est beau"]
PRICES = ["0", "0.10", "4.99", "5", "9.99", "10.00", "20", "49.5", "100", "999999.99"]


def fill(products=60, seed=8):
    """Products of every kind: without a category, without tags, hidden, without a picture, with several."""
    dice = random.Random(seed)
    categories = [Category.objects.create(name=name) for name in CATEGORIES]
    for number in range(products):
        product = Product.objects.create(
            title=f"thing {number}",
            category=dice.choice([*categories, None]),
            price=dice.choice([*PRICES, str(dice.randint(1, 20_000) / 100)]),
            in_stock=dice.random() < 0.7,
            tags=dice.sample(TAGS, dice.randint(0, 3)),
            published=dice.random() < 0.9,
        )
        ProductImage.objects.bulk_create(
            [
                ProductImage(product=product, image=f"{number}-{place}.png")
                for place in range(dice.choice([0, 1, 1, 2, 5]))
            ]
        )


def queries(count=200, seed=80):
    """Filters as the search takes them; every one holds one condition at least."""
    dice = random.Random(seed)
    for _ in range(count):
        asked = {}
        while not asked:
            if dice.random() < 0.4:
                asked["category"] = dice.sample([*CATEGORIES[:-1], "none such"], dice.randint(1, 3))
            if dice.random() < 0.3:
                asked["tags"] = dice.sample([*TAGS, "none such"], dice.randint(1, 2))
            if dice.random() < 0.3:
                asked["in_stock"] = [dice.random() < 0.7]
            if dice.random() < 0.3:
                asked["price__gte"] = [dice.choice([*PRICES, "0.1", "19.996", "-3"])]
            if dice.random() < 0.3:
                asked["price__lte"] = [dice.choice([*PRICES, "4.994", "20.004", "1e30"])]
            if dice.random() < 0.1:
                asked["price"] = dice.sample(PRICES, 3)
        yield asked


def by_python(asked):
    """Each facet as ``{value: products}``; of the price ``{price: products}``."""
    counted = defaultdict(Counter)
    shown = Product.objects.filter(published=True, images__isnull=False).distinct().select_related("category")
    for product in shown:
        values = {
            "category": [product.category.name] if product.category else [],
            "price": [float(product.price)],
            "in_stock": [product.in_stock],
            "tags": product.tags,
        }
        passes = {
            "category": not (wanted := asked.get("category")) or bool(set(wanted) & set(values["category"])),
            "tags": not (wanted := asked.get("tags")) or bool(set(wanted) & set(values["tags"])),
            "in_stock": not (wanted := asked.get("in_stock")) or product.in_stock in wanted,
            "price": (
                values["price"][0] >= float(asked.get("price__gte", ["-1e300"])[0])
                and values["price"][0] <= float(asked.get("price__lte", ["1e300"])[0])
                and (not (wanted := asked.get("price")) or values["price"][0] in map(float, wanted))
            ),
        }
        for name, those in values.items():
            if all(passed for other, passed in passes.items() if other != name):
                counted[name].update(each for each in set(those) if each != "")
    return {name: dict(counted[name]) for name in ("category", "price", "in_stock", "tags")}


def by_sql(asked):
    """The same, by one statement a facet."""
    on_postgresql = connection.vendor == "postgresql"
    tag = "tag" if on_postgresql else "tag.value"
    tags = "jsonb_array_elements_text(p.tags) AS tag" if on_postgresql else "json_each(p.tags) AS tag"
    clauses = {"category": [], "price": [], "in_stock": [], "tags": []}
    if wanted := asked.get("category"):
        clauses["category"].append((f"c.name IN ({_marks(wanted)})", wanted))
    if wanted := asked.get("tags"):
        clauses["tags"].append((f"EXISTS (SELECT 1 FROM {tags} WHERE {tag} IN ({_marks(wanted)}))", wanted))
    if wanted := asked.get("in_stock"):
        clauses["in_stock"].append((f"p.in_stock IN ({_marks(wanted)})", wanted))
    price = "CAST(p.price AS double precision)"
    if wanted := asked.get("price__gte"):
        clauses["price"].append((f"{price} >= %s", [float(wanted[0])]))
    if wanted := asked.get("price__lte"):
        clauses["price"].append((f"{price} <= %s", [float(wanted[0])]))
    if wanted := asked.get("price"):
        clauses["price"].append((f"{price} IN ({_marks(wanted)})", [float(each) for each in wanted]))
    values = {"category": "c.name", "price": price, "in_stock": "p.in_stock", "tags": tag}
    counted = {}
    for name, value in values.items():
        others = [each for other, those in clauses.items() if other != name for each in those]
        where = " AND ".join(["p.published", *(clause for clause, _ in others)])
        statement = f"""
            SELECT {value}, COUNT(DISTINCT p.id) FROM shop_product p
            JOIN shopsearch_productimage i ON i.product_id = p.id
            LEFT JOIN shop_category c ON c.id = p.category_id
            {f"CROSS JOIN {tags}" if name == "tags" else ""} WHERE {where} GROUP BY 1
        """
        with connection.cursor() as cursor:
            cursor.execute(statement, [each for _, those in others for each in those])
            rows = cursor.fetchall()
        of_kind = bool if name == "in_stock" else float if name == "price" else str
        counted[name] = {of_kind(each): count for each, count in rows if each not in (None, "")}
    return counted


def _marks(values):
    return ", ".join(["%s"] * len(values))
