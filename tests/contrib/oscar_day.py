"""A day in an Oscar shop with search, run in its project: prints what was seen, by name, as JSON."""

import json
import sys
from pathlib import Path

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext, setup_test_environment  # noqa: E402
from oscar.apps.catalogue.models import Category, Product, ProductImage  # noqa: E402
from oscar.apps.partner.models import StockRecord  # noqa: E402

from shopsearch.indexing import batch  # noqa: E402
from shopsearch.models import RelatedChange  # noqa: E402
from shopsearch.search import spelling, synonyms  # noqa: E402
from tests.contrib.oscar_products import build  # noqa: E402

STOREFRONT = Path(sys.argv[1])
SEEN = {}
setup_test_environment()  # the forms that a page shows can be read
client = Client()


def index():
    return sum(each.claimed for each in batch.index_pending())


def titles(**parameters):
    answer = client.get("/api/search/", {"limit": 50, "q": "shirt", **parameters})
    assert answer.status_code == 200, answer.content
    return [each["product"]["title"] for each in answer.json()["results"]]


rows = [json.loads(line) for line in (STOREFRONT / "products.jsonl").read_text().splitlines()]
for row in rows:
    if row["store"] == "saleor" and row["images"]:
        build(row, STOREFRONT)
SEEN["products"] = Product.objects.filter(parent=None).count()
SEEN["pictures"] = ProductImage.objects.count()
SEEN["pictures of variants"] = ProductImage.objects.exclude(product__parent=None).count()
SEEN["indexed"] = index()
everything = titles()
SEEN["found"] = len(everything)
SEEN["found once each"] = len(set(everything)) == len(everything)
SEEN["by the UPC of a variant"] = titles(q="818223584")[:1]
SEEN["in a category"] = sorted(titles(category="sneakers"))
SEEN["cheapest"] = client.get("/api/search/", {"q": "shirt", "sort": "price"}).json()["results"][0]["product"]

page = client.get("/search/", {"q": "sneakers"}).content.decode()
SEEN["widgets on the page"] = page.count("data-shopsearch\n") + page.count("data-shopsearch ")
SEEN["widgets at home"] = client.get("/catalogue/").content.decode().count('role="search"')
SEEN["a category's name as a facet"] = ">Sneakers" in page
SEEN["cards with a price"] = page.count("shopsearch-card__price")

dash = Product.objects.get(title="Dash Force")
variants = list(StockRecord.objects.filter(product__parent=dash))
for record in variants[:-1]:
    record.allocate(1)
index()
SEEN["in stock while one is left"] = "Dash Force" in titles(in_stock="true")
variants[-1].allocate(1)
SEEN["noted by the last allocation"] = RelatedChange.objects.exists()
index()
SEEN["in stock without any"] = "Dash Force" in titles(in_stock="true")
SEEN["still found"] = "Dash Force" in titles()

blue = Product.objects.get(title="Blue Plimsolls")
User.objects.create_superuser("admin", "admin@example.com", "admin")
staff = Client()
staff.force_login(User.objects.get(), "django.contrib.auth.backends.ModelBackend")


FORMSETS = ("category_formset", "image_formset", "recommended_formset", "stockrecord_formset")


def save_in_the_dashboard(**changes):
    """As the dashboard's form for a product is posted, with what it shows and these changes."""
    address = f"/dashboard/catalogue/products/{blue.pk}/"
    context = staff.get(address).context
    data = {}
    forms = [context["form"]]
    for name in FORMSETS:
        forms += [context[name].management_form, *context[name].forms]
    for form in forms:
        for field in form:
            value = field.value()
            if value is not None and value is not False and not hasattr(value, "url"):
                data[field.html_name] = value
    data["stockrecords-TOTAL_FORMS"] = 0  # a parent has none
    data = {key: value for key, value in (data | changes).items() if value is not None}
    answer = staff.post(address, data)
    assert answer.status_code == 302, [str(answer.context[name].errors) for name in ("form", *FORMSETS)]


save_in_the_dashboard(title="Azure Plimsolls")
index()
SEEN["after a save in the dashboard"] = titles(q="azure plimsolls")[:1]
save_in_the_dashboard(title="Azure Plimsolls", is_public=None)
index()
SEEN["with a hidden parent"] = "Azure Plimsolls" in titles()
child = ProductImage.objects.filter(product__parent__title="Dash Force").get().product
child.is_public = False
child.save()
index()
SEEN["with a hidden variant"] = "Dash Force" in titles()

Category.objects.get(name="Sneakers").delete()
index()
SEEN["of a deleted category"] = titles(category="sneakers")


# A search reads synonyms and new words once in a while: not between two that are counted.
synonyms.KEPT_SECONDS = spelling.KEPT_SECONDS = 600


def queries(act):
    """The fewest of three: what is kept for some seconds is read anew in one of them."""
    counts = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as captured:
            act()
        counts.append(len(captured))
    return min(counts)


def counted():
    titles()
    return {
        "page": queries(lambda: client.get("/search/", {"q": "shirt"})),
        "sort": queries(lambda: titles(sort="price", limit=20)),
        "facets": queries(lambda: titles(facets="*", limit=20)),
    }


few = counted()
for row in rows:
    if row["store"] == "solidus" and row["images"]:
        build(row, STOREFRONT)
index()
SEEN["queries with few and with more"] = [few, counted()]
print(json.dumps(SEEN))
