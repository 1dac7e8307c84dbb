"""The demo end to end in a real browser: results first, then the better order, with the leopard case in front."""

import json
import shutil

import pytest
from playwright.sync_api import expect

from demo_project.catalog.assortment import articles
from demo_project.rendering.references import FOLDER
from tests.services.demo import Demo

pytestmark = pytest.mark.services

PHONE = {"width": 390, "height": 844}


@pytest.fixture(autouse=True)
def shop():
    """The demo has its own; nothing of the other tests' is needed."""


@pytest.fixture(scope="module")
def phone_cases(tmp_path_factory):
    """A folder for `--images`: every phone case of the demo, and a few things more."""
    folder = tmp_path_factory.mktemp("phone_cases")
    lines = []
    for number, article in enumerate(articles()):
        if article.category == "phone_case" or number % 30 == 0:
            name = f"{article.slug}.jpg"
            (folder / name).write_bytes(article.photograph())
            product = {
                "id": article.slug,
                "name": article.title,
                "price": 12.5,
                "categories": [article.category],
                "images": [name],
            }
            lines.append(json.dumps(product))
    (folder / "products.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(params=["--one-process", pytest.param("--processes", marks=pytest.mark.nightly)])
def demo(request, tmp_path, phone_cases):
    if request.param == "--processes" and not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    demo = Demo(tmp_path / "demo", request.param, "--images", str(phone_cases))
    yield demo
    demo.stop()
    demo.clear()


def test_a_leopard_and_a_phone_case_bring_results_and_then_a_better_order_with_a_true_reason(demo, page):
    demo.wait_until_ready()
    seen = []
    page.on(
        "response", lambda response: seen.append(response.url) if "/api/reranks/" in response.url else None
    )
    page.set_viewport_size(PHONE)
    page.goto(demo.address)
    # A strip of examples once made the hero as wide as itself, and took the search box along.
    for part in (
        page.get_by_role("heading", level=1),
        page.get_by_role("combobox", name="Search by words").first,
    ):
        box = part.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_role("combobox", name="Search by words").first.fill("phone case with this image theme")
    page.locator("input[type=file]:not([capture])").first.set_input_files(FOLDER / "leopard.jpg")

    titles = page.locator(".shopsearch-card__title")
    expect(titles.first).to_contain_text("phone case", timeout=60_000)
    line = page.locator("[data-shopsearch-order]")
    expect(line).to_have_attribute("data-shopsearch-order", "shown", timeout=60_000)
    assert seen  # the order came after the page, from the rerank's own address

    better = titles.all_text_contents()
    assert "leopard phone case" in better[0].casefold()
    expect(line).to_contain_text("like your picture it is “leopard”")
    reason = page.locator("[data-shopsearch-reason]").text_content()
    assert reason
    for named in reason.split("“")[1:]:
        assert named.split("”")[0] in better[0].casefold()
    page.get_by_role("button", name="Undo").click()
    expect(line).to_have_attribute("data-shopsearch-order", "offered")
    assert sorted(titles.all_text_contents()) == sorted(better) != titles.all_text_contents()
