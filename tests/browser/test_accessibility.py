"""What axe-core finds on the search page in all its states, and on the app's pages in the admin: nothing."""

import itertools
from importlib.resources import files

import pytest
from django.urls import include, path, reverse
from playwright.sync_api import expect

from shopsearch.indexing import rebuild, rule_pictures
from shopsearch.models import (
    Collection,
    EvaluationQuery,
    ProductImage,
    Rerank,
    Rule,
    RuleAction,
    RulePicture,
)
from shopsearch.registry import get_index
from shopsearch.search import rules
from shopsearch.search.engine import answer
from shopsearch.search.request import SearchRequest
from tests import urls
from tests.browser import pages
from tests.browser.conftest import upload
from tests.shop.pictures import RED, picture

AXE = files("axe_playwright_python") / "axe.min.js"
WCAG_21 = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
"""What Django's admin is held to: the links of its filters are lower than WCAG 2.2's 24 pixels."""
WCAG_22 = [*WCAG_21, "wcag22aa"]
ALSO = ["heading-order", "image-redundant-alt", "empty-heading"]
"""Good practice that the search page keeps."""
RUN = """async ([tags, also]) => {
    // What every page of Django's admin has: its breadcrumbs, and what stands above a list.
    const context = { exclude: [".breadcrumbs", "#toolbar"] };
    const found = await axe.run(context, {
        resultTypes: ["violations"],
        runOnly: tags,
        rules: Object.fromEntries(also.map((rule) => [rule, { enabled: true }])),
    });
    return found.violations.map((each) => [each.id, each.nodes.slice(0, 3).map((node) => node.html.slice(0, 200))]);
}"""
SIZES = {390: 844, 768: 1024, 1280: 860}
EVERY = list(itertools.product(SIZES, ("light", "dark"), ("en", "es")))
FEW = [(390, "light", "es"), (1280, "dark", "en")]
"""A phone and a desk, each scheme and language once; the others by night."""

STATES = {
    "nothing asked": "",
    "results": "?q=red",
    "refined and sorted": "?q=thing&price__gte=4&in_stock=true&sort=price",
    "nothing found": "?q=red&price__gte=9999",
    "a mistake": "?q=red&price__gte=cheap",
    "without its picture": "?q=red&picture=1",
}
FILE = "input[type=file]:not([capture])"
PAGES = [
    *("index", "shopsearch_overview_changelist", "shopsearch_productimage_changelist"),
    *("shopsearch_indexentry_changelist", "shopsearch_collection_changelist"),
    *("shopsearch_rerank_changelist", "shopsearch_evaluationquery_changelist"),
    *("shopsearch_rule_changelist", "shopsearch_rule_add", "shopsearch_rule_import"),
]

urlpatterns = [path("", include(urls)), path("", include(pages))]


def told(found):
    return "\n".join(f"{name}: {rule} {nodes}" for name, each in found.items() for rule, nodes in each)


@pytest.fixture(
    params=[
        pytest.param(each, id="-".join(map(str, each)), marks=[] if each in FEW else [pytest.mark.nightly])
        for each in EVERY
    ]
)
def inspected(request, browser, settings, live_server):
    """A page of this width, scheme and language, and a function that says what axe finds on it."""
    width, scheme, language = request.param
    settings.LANGUAGE_CODE = language
    settings.ROOT_URLCONF = __name__
    context = browser.new_context(
        viewport={"width": width, "height": SIZES[width]},
        color_scheme=scheme,
        reduced_motion="reduce",
        bypass_csp=True,
    )
    context.set_default_timeout(15_000)
    context.add_init_script(path=str(AXE))
    page = context.new_page()
    yield page, lambda tags, also=(): page.evaluate(RUN, [tags, also])
    context.close()


def a_rule_by_looks():
    rule = Rule.objects.create(name="Reds", index=get_index().name, trigger="looks")
    RuleAction.objects.create(rule=rule, kind="banner", text="Everything red", address="/reds/")
    RulePicture.objects.create(rule=rule, image=picture(RED, "rule.png"))
    rule_pictures.embed()
    return rule


def test_the_search_page_in_all_its_states(inspected, live_server):
    page, violations = inspected
    rule = Rule.objects.create(name="Sale", index=get_index().name, words="red")
    RuleAction.objects.create(rule=rule, kind="banner", text="Everything red is 20 % off", address="/reds/")
    rules.forget()
    found = {}
    for name, parameters in STATES.items():
        page.goto(f"{live_server.url}/search/{parameters}")
        found[name] = violations(WCAG_22, ALSO)
        if name == "results" and page.viewport_size["width"] < 900:
            page.locator(".shopsearch-refine__button").click()
            expect(page.locator(".shopsearch-filters__show")).to_be_visible()
            found["the sheet of filters"] = violations(WCAG_22, ALSO)
    page.goto(f"{live_server.url}/search/?q=red")
    page.get_by_role("combobox").first.fill("thi")
    expect(page.get_by_role("option").filter(visible=True)).to_have_count(4)
    page.keyboard.press("ArrowDown")
    found["suggestions"] = violations(WCAG_22, ALSO)
    images = list(ProductImage.objects.values_list("pk", flat=True)[:2])
    page.goto(f"{live_server.url}/search/?q=red&similar={images[0]}&dissimilar={images[1]}")
    expect(page.locator(".shopsearch-example")).to_have_count(2)
    page.locator(".shopsearch-steer a").first.focus()
    found["with examples"] = violations(WCAG_22, ALSO)
    page.locator(FILE).set_input_files(upload("red"))
    page.locator("[data-shopsearch-choose-part]").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    found["the part of a picture"] = violations(WCAG_22, ALSO)
    assert told(found) == ""


def test_the_apps_pages_in_the_admin(inspected, live_server, admin_client):
    page, violations = inspected
    value = admin_client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": value, "url": live_server.url}])
    answer(SearchRequest(text="red thing", wants_rerank=True))
    long = "a very long search that goes on and on, with-a-word-that-no-line-can-break-" * 3
    Rerank.objects.update(text=long, reason="It is.", caption="A thing")
    EvaluationQuery.objects.create(index=get_index().name, text=long, times_asked=3)
    rebuild.begin(get_index())
    addresses = [reverse(f"admin:{name}") for name in PAGES]
    addresses += [reverse("admin:shopsearch_rerank_change", args=[each.pk]) for each in Rerank.objects.all()]
    rule = a_rule_by_looks()
    addresses += [reverse(f"admin:shopsearch_rule_{name}", args=[rule.pk]) for name in ("change", "preview")]
    orders = [(each.pk, "cancel") for each in Collection.objects.exclude(state="live")]
    addresses += [reverse("admin:shopsearch_collection_order", args=each) for each in orders]
    found = {}
    for address in addresses:
        assert page.goto(live_server.url + address).ok, address
        found[address] = violations(WCAG_21)
    assert told(found) == ""
