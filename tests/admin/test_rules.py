"""The admin of rules of the house: edited with actions and pictures, tried in a preview, or kept as a CSV file."""

import re

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shopsearch import tasks
from shopsearch.backends import get_embedder
from shopsearch.models import ProductImage, Rule, RuleAction, RulePicture
from shopsearch.models.rules import look_space
from shopsearch.registry import index_for
from shopsearch.search import rules
from shopsearch.search.engine import search
from tests.shop.models import Category, Product
from tests.shop.pictures import RED, picture, product

pytestmark = pytest.mark.django_db
ADDRESS = "/admin/shopsearch/rule/"
INDEX = index_for(ProductImage).name
RIGHTS = [
    f"{right}_{model}"
    for model in ("rule", "ruleaction", "rulepicture")
    for right in ("add", "change", "view")
]


def form(actions=(), pictures=(), **fields):
    """What the browser posts."""
    data = {
        "name": "rule",
        "index": INDEX,
        "is_on": "on",
        "priority": "0",
        "trigger": "contains",
        "words": "red",
    }
    for prefix, rows in (("actions", actions), ("pictures", pictures)):
        data |= {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": 0}
        data |= {
            f"{prefix}-{place}-{name}": value for place, row in enumerate(rows) for name, value in row.items()
        }
    return data | fields


def csv(content):
    return {"file": SimpleUploadedFile("rules.csv", content)}


def upload(colour=RED):
    return SimpleUploadedFile("photo.png", picture(colour).read(), "image/png")


def by_looks(product):
    rule = Rule.objects.create(name="reds", index=INDEX, trigger="looks")
    RuleAction.objects.create(rule=rule, kind="pin", products=str(product.pk))
    RulePicture.objects.create(rule=rule, image=picture(RED, "rule.png"))
    return rule


def test_a_rule_is_written_with_its_actions_is_in_force_and_its_history_is_kept(staff, mugs):
    client = staff(*RIGHTS)
    search("red")  # the process has read the rules
    actions = [{"kind": "pin", "products": str(mugs["blue"].pk), "place": "1"}]
    assert client.post(f"{ADDRESS}add/", form(actions)).status_code == 302
    assert search("red").results[0].product == mugs["blue"]
    page = client.get(ADDRESS).content.decode()
    assert "in force" in page
    rule = Rule.objects.get()
    assert "blue mug" in client.get(f"{ADDRESS}{rule.pk}/change/").content.decode()
    assert [str(entry) for entry in LogEntry.objects.all()] == ["Added “rule”."]


def test_the_list_names_products_by_their_titles_and_not_by_their_keys(staff, mugs):
    client = staff("view_rule")
    rule = Rule.objects.create(name="rule", index=INDEX, trigger="any")
    gone = product(RED, title="gone")
    keys = [each.pk for each in (mugs["blue"], gone, mugs["red"], mugs["green"])]
    RuleAction.objects.create(rule=rule, kind="boost", products=", ".join(map(str, keys)), value="price=3")
    gone.delete()
    does = f"move up: blue mug, {keys[1]}: gone, red mug, 1 more, price=3"
    assert does in client.get(ADDRESS).content.decode()


def rules_of_each_kind(number, mugs):
    """So many rules, each of which names a product, values or pictures of its own."""
    for place in range(number):
        kind = place % 5
        rule = Rule.objects.create(
            name=f"rule {place} of {number}",
            index=INDEX,
            trigger="looks" if kind == 4 else "any",
            is_on=kind != 3,
        )
        shown = product(RED, title=f"mug {place}")
        category = Category.objects.create(name=f"category {place} of {number}")
        Product.objects.filter(pk=shown.pk).update(category=category)
        values = ("", f"category={category.name}", f"tags=tag {place}", "", "")
        RuleAction.objects.create(
            rule=rule, kind="boost", products="" if values[kind] else str(shown.pk), value=values[kind]
        )
        RuleAction.objects.create(rule=rule, kind="pin", products="999999")
        if kind == 4:
            RulePicture.objects.create(rule=rule, image=picture(RED, "rule.png"))


def test_the_list_asks_as_many_queries_for_many_rules_as_for_few(staff, mugs):
    client = staff("view_rule")
    rules_of_each_kind(5, mugs)
    client.get(ADDRESS)
    with CaptureQueriesContext(connection) as few:
        page = client.get(ADDRESS).content.decode()
    states = ("in force", "no product has its filter", "waiting for vectors", "off")
    assert [page.count(f">{state}") for state in states] == [2, 1, 1, 1]
    rules_of_each_kind(50, mugs)
    with CaptureQueriesContext(connection) as many:
        page = client.get(ADDRESS).content.decode()
    assert page.count(">in force") == 22
    assert len(many) == len(few), [query["sql"] for query in many]


def test_a_filters_value_that_no_product_has_is_told_when_the_rule_is_saved_and_in_the_list(staff, mugs):
    client = staff(*RIGHTS)
    told = "No product of the shop has category=mugz: “move up” moves nothing by it."
    actions = [{"kind": "boost", "value": "category=mugz"}, {"kind": "bury", "value": "price=0"}]
    page = client.post(f"{ADDRESS}add/", form(actions[:1]), follow=True).content.decode()
    assert told in page
    assert "no product has its filter" in page
    assert "in force" not in page
    page = client.post(f"{ADDRESS}add/", form(actions, name="other"), follow=True).content.decode()
    assert told in page
    assert "in force" in page


@pytest.fixture
def products_in_the_admin(monkeypatch):
    class ProductAdmin(admin.ModelAdmin):
        search_fields = ("title",)

        def has_module_permission(self, request):
            return False  # the addresses of the admin were made without it

    admin.site.register(Product, ProductAdmin)
    indexes = [index_for(ProductImage)]
    monkeypatch.setattr("shopsearch.admin.rules.get_indexes", lambda: indexes)
    yield
    admin.site.unregister(Product)


@pytest.mark.usefixtures("products_in_the_admin")
def test_products_are_chosen_by_typing_where_the_shops_admin_searches_them(staff, mugs):
    client = staff(*RIGHTS, "view_product")
    page = client.get(f"{ADDRESS}add/").content.decode()
    assert "admin-autocomplete" in page
    found = client.get(
        "/admin/autocomplete/",
        {"app_label": "shopsearch", "model_name": "productimage", "field_name": "product", "term": "blu"},
    )
    assert [each["text"] for each in found.json()["results"]] == [str(mugs["blue"])]
    keys = [str(mugs[name].pk) for name in ("blue", "red")]
    assert client.post(f"{ADDRESS}add/", form([{"kind": "pin", "products": keys}])).status_code == 302
    action = RuleAction.objects.get()
    assert action.keys == keys, "in the order in which they were chosen"
    page = client.get(f"{ADDRESS}{action.rule_id}/change/").content.decode()
    chosen = re.findall(r'<option value="(\d+)" selected', page)
    assert chosen == keys
    refused = client.post(f"{ADDRESS}add/", form([{"kind": "pin", "products": ["999"]}], name="other"))
    assert "The shop has no such product: 999." in refused.content.decode()


@pytest.mark.usefixtures("products_in_the_admin")
def test_who_may_not_view_products_writes_their_keys(staff, mugs):
    assert "admin-autocomplete" not in staff(*RIGHTS).get(f"{ADDRESS}add/").content.decode()


@pytest.mark.parametrize(
    ("actions", "fields", "sentence"),
    [
        ([{"kind": "pin", "products": "999"}], {}, "The shop has no such product: 999."),
        ([{"kind": "hide", "products": ""}], {}, "Name at least one product."),
        ([{"kind": "pin", "value": "category=mugs"}], {}, "Name at least one product."),
        ([{"kind": "bury", "value": "colour=red"}], {}, "There is no filter"),
        ([{"kind": "boost", "value": "price"}], {}, "Write each filter as name=value"),
        ([{"kind": "banner", "text": " "}], {}, "Write what the banner says."),
        ([{"kind": "redirect", "address": "https://elsewhere.example/"}], {}, "Use an address of this shop"),
        (
            [{"kind": "banner", "text": "x", "address": "javascript:alert(1)"}],
            {},
            "Use an address of this shop",
        ),
        ([], {"words": "?!"}, "Write the words for which the rule fires."),
        ([], {"filters": "colour=red"}, "There is no filter"),
        ([], {"filters": "category"}, "Write each filter as name=value"),
        (
            [],
            {"valid_from": "2026-02-01T08:00", "valid_until": "2026-01-01T08:00"},
            "This has to be later",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(staff, mugs, actions, fields, sentence):
    page = staff(*RIGHTS).post(f"{ADDRESS}add/", form(actions, **fields)).content.decode()
    assert sentence in page
    assert not Rule.objects.exists()


def test_a_picture_is_kept_as_a_jpeg_and_what_is_none_is_refused(staff, mugs):
    client = staff(*RIGHTS)
    actions = [{"kind": "pin", "products": str(mugs["blue"].pk)}]
    broken = SimpleUploadedFile("photo.png", b"no picture", "image/png")
    page = client.post(f"{ADDRESS}add/", form(actions, [{"image": broken}], trigger="looks")).content.decode()
    assert "errorlist" in page
    assert (
        client.post(f"{ADDRESS}add/", form(actions, [{"image": upload()}], trigger="looks")).status_code
        == 302
    )
    assert RulePicture.objects.get().image.name.endswith(".jpg")
    assert "waiting for vectors" in client.get(ADDRESS).content.decode()


def test_the_preview_shows_the_results_without_and_with_a_rule_that_is_off(staff, mugs):
    client = staff("view_rule")
    rule = Rule.objects.create(name="Blues", index=INDEX, trigger="exact", words="red", is_on=False)
    RuleAction.objects.create(rule=rule, kind="pin", products=str(mugs["blue"].pk))
    page = client.get(f"{ADDRESS}{rule.pk}/preview/")
    assert "This search fires the rule" in page.content.decode()
    (_, before), (_, after) = page.context["columns"]
    assert (before[0]["title"], after[0]["title"]) == ("red mug", "blue mug")
    assert [card["is_placed"] for card in after[:2]] == [True, False]
    page = client.post(f"{ADDRESS}{rule.pk}/preview/", {"q": "green"})
    assert "This search does not fire the rule" in page.content.decode()
    assert search("red").results[0].product == mugs["red"]


def test_the_line_of_a_rule_by_looks_is_set_by_eye(staff, mugs):
    client = staff("view_rule", "change_rule")
    rule = by_looks(mugs["blue"])
    address = f"{ADDRESS}{rule.pk}/preview/"
    assert "have no vectors yet" in client.get(address).content.decode()
    tasks.index()
    page = client.get(address)
    others = page.context["others"]
    assert others[0].title == "red mug"
    assert [each.score for each in others] == sorted((each.score for each in others), reverse=True)
    page = client.post(address, {"threshold": others[0].line}, follow=True)
    assert [each.title for each in page.context["alike"]] == ["red mug"]
    assert page.context["fired"] == 1
    rule.refresh_from_db()
    assert rule.threshold_space == look_space(get_embedder().space)
    page = client.post(address, {"q": "", "picture": upload()})
    assert "This search fires the rule" in page.content.decode()
    assert "Your picture is 1.000 alike. The threshold is " in page.content.decode()
    assert client.post(address, {"threshold": "7"}, follow=True).context["threshold"] == rule.threshold


def test_rules_are_imported_whole_or_not_at_all_and_exported(staff, mugs):
    client = staff("add_rule", "change_rule", "view_rule")
    kept = by_looks(mugs["blue"])
    Rule.objects.filter(pk=kept.pk).update(threshold=0.5, threshold_space="space")
    columns = "name,index,on,priority,valid_from,valid_until,trigger,words,language,filters"
    head = f"{columns},action,products,value,place,text,address\r\n"
    red = mugs["red"].pk
    wrong = (
        head
        + f"Sale,{INDEX},yes,0,,,any,,,,banner,,,,20 % off,/sale/\r\nOther,{INDEX},yes,0,,,any,,,,pin,999,,,,\r\n"
    )
    page = client.post(f"{ADDRESS}import/", csv(wrong.encode())).content.decode()
    assert "Line 3: The shop has no such product: 999." in page
    assert Rule.objects.count() == 1
    late = f"{head}Sale,{INDEX},yes,0,,9999-12-31T23:59:59-12:00,any,,,,banner,,,,20 % off,/sale/\r\n"
    assert "Line 2: " in client.post(f"{ADDRESS}import/", csv(late.encode())).content.decode()
    sale = f'Sale,{INDEX},no,5,2026-11-27 08:00:00+00:00,,contains,"sale, deals",en,category=mugs'
    reds = f"reds,{INDEX},yes,0,,,looks,,,,bury,{red},in_stock=no,,,\r\n"
    right = f"{head}{sale},banner,,,,20 % off,/sale/\r\n{sale},pin,{red},,3,,\r\n{reds}"
    page = client.post(f"{ADDRESS}import/", csv(right.encode()), follow=True).content.decode()
    assert "2 rules were imported." in page
    assert client.get(f"{ADDRESS}export/").content.decode() == right
    kept.refresh_from_db()
    assert (kept.threshold, kept.pictures.count()) == (0.5, 1)


def test_who_may_only_look_changes_nothing(staff, mugs):
    client = staff("view_rule")
    rule = by_looks(mugs["blue"])
    assert "Import CSV" not in client.get(ADDRESS).content.decode()
    assert client.get(f"{ADDRESS}import/").status_code == 403
    assert client.post(f"{ADDRESS}{rule.pk}/preview/", {"threshold": "0.5"}).status_code == 403
    assert client.get(f"{ADDRESS}{rule.pk}/change/").status_code == 200
    rules.forget()
    assert Product.objects.count() == 3
