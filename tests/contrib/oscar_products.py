"""Products of the storefront as Oscar keeps them; imported where Oscar's settings are."""

from decimal import Decimal
from pathlib import Path

from django.core.files import File
from oscar.apps.catalogue.categories import create_from_breadcrumbs
from oscar.apps.catalogue.models import Product, ProductClass, ProductImage
from oscar.apps.partner.models import Partner, StockRecord


def stock(product, sku, price, number=1):
    warehouse, _ = Partner.objects.get_or_create(name="Warehouse")
    return StockRecord.objects.create(
        product=product, partner=warehouse, partner_sku=sku, price=Decimal(str(price)), num_in_stock=number
    )


def build(row, storefront):
    """A product with its pictures; each of its variants is a child, the first of which has the last picture."""
    variants = row["variants"] or [{"name": "", "sku": None, "price": row["price"]}]
    several = len(variants) > 1
    product = Product.objects.create(
        structure="parent" if several else "standalone",
        product_class=ProductClass.objects.get_or_create(name="Clothes", track_stock=True)[0],
        title=row["name"],
        description=row["description"],
        upc=None if several else variants[0].get("sku"),
    )
    for path in row["categories"]:
        product.categories.add(create_from_breadcrumbs(path.replace("/", " > ")))
    pictured = [product] * len(row["images"])
    for number, variant in enumerate(variants):
        sold = product
        if several:
            sold = Product.objects.create(
                structure="child",
                parent=product,
                title=f"{row['name']} {number}",
                upc=variant.get("sku"),
            )
            if len(pictured) > 1 and pictured[-1] is product:
                pictured[-1] = sold
        stock(sold, variant.get("sku") or f"{product.pk}-{number}", variant.get("price") or row["price"] or 5)
    for order, (owner, path) in enumerate(zip(pictured, row["images"], strict=True)):
        with (storefront / path).open("rb") as file:
            ProductImage.objects.create(
                product=owner, original=File(file, Path(path).name), display_order=order
            )
