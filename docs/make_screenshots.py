"""Take the pictures of the documentation from a running demo: python docs/make_screenshots.py http://127.0.0.1:8000/

Writes docs/pictures/: the home page, a search by a picture and words (dark as well), and one by words, each in its
better order, at 1280 and at 390 px. With the name and the password of a superuser behind the address it takes the
picture of judging in the admin instead, and leaves the query that is in it in the demo.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "pictures"
LEOPARD = ROOT / "demo_project" / "pictures" / "leopard.jpg"
SIZES = {1280: 860, 390: 844}
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


def settled(page: Page) -> None:
    """Every picture in sight is there and nothing moves any more."""
    page.evaluate(
        """() => Promise.all([
            ...[...document.images].filter((image) => image.getBoundingClientRect().top < innerHeight)
                .map((image) => image.complete || new Promise((done) => image.addEventListener("load", done))),
            ...document.getAnimations().map((animation) => animation.finished),
        ])"""
    )


def ordered(page: Page) -> None:
    """The better order is there, or nothing came of it."""
    waiting = page.locator("[data-shopsearch-order=waiting]")
    expect(waiting).to_have_count(0, timeout=90_000)


def save(page: Page, name: str) -> None:
    settled(page)
    with Image.open(io.BytesIO(page.screenshot())) as image:
        # 256 colours are a third of the bytes, and a repository keeps every version.
        image.convert("RGB").quantize(256).save(OUT / f"{name}.png", optimize=True)


def visit(browser: Browser, address: str, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": SIZES[width]},
        color_scheme="dark" if scheme == "dark" else "light",
        has_touch=width < 500,
        is_mobile=width < 500,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(address)
    if scheme == "light":
        save(page, f"home-{width}")
    page.get_by_role("combobox", name="Search by words").first.fill("phone case with this image theme")
    page.locator("input[type=file]:not([capture])").first.set_input_files(LEOPARD)
    expect(page.locator(".shopsearch-card").first).to_be_visible()
    ordered(page)
    save(page, f"picture-and-words-{width}" + ("-dark" if scheme == "dark" else ""))
    if scheme == "light":
        page.goto(f"{address}search/?q=red+striped+mug")
        ordered(page)
        save(page, f"words-{width}")
    context.close()


def judge(browser: Browser, address: str, name: str, password: str) -> None:
    """The first results of a query are graded by the keyboard; nothing is saved."""
    page = browser.new_page(viewport={"width": 1280, "height": SIZES[1280]})
    page.goto(f"{address}admin/shopsearch/evaluationquery/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Queries to judge")).to_be_visible()
    written = page.get_by_role("link", name="red striped mug", exact=True)
    if written.count():
        written.click()
    else:
        page.goto(f"{address}admin/shopsearch/evaluationquery/add/")
        page.get_by_label("Text").fill("red striped mug")
        page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("fieldset:focus-within")).to_be_visible()
    for grade in "33310":
        page.keyboard.press(grade)
    page.evaluate("scrollTo(0, 0)")
    save(page, "judging")


def main() -> None:
    address = (sys.argv[1:] or ["http://127.0.0.1:8000/"])[0].rstrip("/") + "/"
    OUT.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        if sys.argv[2:]:
            judge(browser, address, *sys.argv[2:4])
        for width in () if sys.argv[2:] else SIZES:
            for scheme in ("light", "dark"):
                visit(browser, address, width, scheme)
        browser.close()


if __name__ == "__main__":
    main()
