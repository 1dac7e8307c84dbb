"""What a shopper's page costs: python -m benchmarks.page http://127.0.0.1:8000/ [--slow] [--json]

Follows shoppers' paths through a running demo in a real Chromium, at a phone's and a desktop's size, and prints for
each path: layout shift (as web vitals count it, and including the shifts right after an input), the largest contentful
paint, the requests and the transferred bytes. `--slow` throttles to 3G. Layout shift, requests and bytes are the same
in every run; milliseconds depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
LEOPARD = ROOT / "demo_project" / "pictures" / "leopard.jpg"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SIZES = {"phone": (390, 844), "desk": (1280, 860)}
THREE_G = {
    "offline": False,
    "latency": 400,
    "downloadThroughput": 500 * 1024 / 8,
    "uploadThroughput": 500 * 1024 / 8,
}
OBSERVE = """
window.seen = { shifts: [], paint: 0 };
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
        const nodes = entry.sources.map(({ node }) => node?.className || node?.nodeName || "gone");
        seen.shifts.push({ value: entry.value, at: entry.startTime, input: entry.hadRecentInput, nodes });
    }
}).observe({ type: "layout-shift", buffered: true });
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) seen.paint = entry.startTime;
}).observe({ type: "largest-contentful-paint", buffered: true });
"""


@dataclass
class Row:
    """What one path cost."""

    path: str
    device: str
    shift: float
    """The largest session window, without what an input was followed by: what browsers report as CLS."""
    shift_with_input: float
    paint: float
    """Milliseconds to the largest contentful paint; 0 where the page was there already."""
    requests: int
    kilobytes: float
    moved: list[str]
    """The classes of what moved most."""


class Traffic:
    """Requests and bytes as the network saw them."""

    def __init__(self, page: Page, slow: bool) -> None:
        self.session = page.context.new_cdp_session(page)
        self.session.send("Network.enable")
        if slow:
            self.session.send("Network.emulateNetworkConditions", THREE_G)
        self.session.on("Network.requestWillBeSent", self._sent)
        self.session.on("Network.loadingFinished", self._finished)
        self.reset()

    def reset(self) -> None:
        self.requests, self.bytes = 0, 0

    def _sent(self, event: dict) -> None:
        self.requests += not event["request"]["url"].startswith(("data:", "blob:"))

    def _finished(self, event: dict) -> None:
        self.bytes += event["encodedDataLength"]


def shift_of(shifts: list[dict], *, with_input: bool) -> float:
    """The largest session window: gaps of less than a second, five seconds at most."""
    best = current = start = last = 0.0
    for each in shifts:
        if each["input"] and not with_input:
            continue
        if each["at"] - last > 1000 or each["at"] - start > 5000:
            current, start = 0.0, each["at"]
        current, last = current + each["value"], each["at"]
        best = max(best, current)
    return best


def settled(page: Page) -> None:
    """Results are there, the better order is there or nothing comes of it, and nothing moves any more."""
    page.wait_for_load_state("load")
    expect(page.locator(".shopsearch-card, .card, .product__title").first).to_be_visible(timeout=60_000)
    expect(page.locator("[data-shopsearch-order=waiting]")).to_have_count(0, timeout=90_000)
    page.wait_for_load_state("networkidle")
    page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished.catch(() => {})))")
    page.wait_for_timeout(700)  # a shift is reported with the next frames


class Walk:
    """One visit: each step is a path that is measured by itself."""

    def __init__(self, browser: Browser, address: str, device: str, slow: bool) -> None:
        width, height = SIZES[device]
        phone = device == "phone"
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            is_mobile=phone,
            has_touch=phone,
            device_scale_factor=2 if phone else 1,
        )
        self.context.set_default_timeout(90_000)
        self.context.add_init_script(OBSERVE)
        self.page = self.context.new_page()
        self.traffic = Traffic(self.page, slow)
        self.address, self.device = address, device
        self.rows: list[Row] = []

    @contextmanager
    def step(self, path: str, *, soft: bool = False) -> Iterator[Page]:
        self.traffic.reset()
        if soft:
            self.page.evaluate("seen.shifts = []; seen.paint = 0")
        yield self.page
        settled(self.page)
        seen = self.page.evaluate("seen")
        moved = sorted(seen["shifts"], key=lambda each: -each["value"])[:2]
        self.rows.append(
            Row(
                path=path,
                device=self.device,
                shift=round(shift_of(seen["shifts"], with_input=False), 4),
                shift_with_input=round(shift_of(seen["shifts"], with_input=True), 4),
                paint=0 if soft else round(seen["paint"]),
                requests=self.traffic.requests,
                kilobytes=round(self.traffic.bytes / 1024, 1),
                moved=[name for each in moved for name in each["nodes"]][:4],
            )
        )

    def search(self, words: str) -> None:
        box = self.page.get_by_role("combobox", name="Search by words").first
        box.fill(words)
        box.press("Enter")

    def words(self) -> None:
        with self.step("home") as page:
            page.goto(self.address)
        with self.step("home, words"):
            self.search("striped mug")
            self.page.wait_for_url("**/search/**")
        with self.step("other words", soft=True) as page:
            self.search("leopard dress")
            expect(page.get_by_role("heading", level=1)).to_contain_text("leopard dress")
        with self.step("a filter", soft=True) as page:
            if self.device == "phone":
                page.get_by_role("button", name="Filter").click()
            page.locator("[data-shopsearch-choice]").first.click()
            expect(page.locator(".shopsearch-chip").first).to_be_attached()
        if self.device == "phone":
            page.keyboard.press("Escape")
        with self.step("another order", soft=True) as page:
            page.get_by_role("combobox", name="Sort by").select_option("price")
            page.wait_for_url("**sort=price**")
        with self.step("a product") as page:
            page.locator(".shopsearch-card__link").first.click()
            page.wait_for_url("**/products/**")
        with self.step("back from it") as page:
            page.go_back()

    def opened(self) -> None:
        with self.step("an address") as page:
            page.goto(f"{self.address}search/?q=red+striped+mug")
        with self.step("show more", soft=True) as page:
            count = page.locator(".shopsearch-card").count()
            page.locator("[data-shopsearch-more]").click()
            expect(page.locator(".shopsearch-card")).not_to_have_count(count)
        with self.step("reload") as page:
            page.reload()

    def again(self) -> None:
        with self.step("an address, again") as page:
            page.goto(f"{self.address}search/?q=red+striped+mug")

    def weak(self) -> None:
        with self.step("what is not sold") as page:
            page.goto(f"{self.address}search/?q=lawn+mower")

    def picture(self) -> None:
        self.page.goto(self.address)
        settled(self.page)
        with self.step("home, picture and words") as page:
            page.get_by_role("combobox", name="Search by words").first.fill(
                "phone case with this image theme"
            )
            page.locator("input[type=file]:not([capture])").first.set_input_files(LEOPARD)
            page.wait_for_url("**/search/**")
        with self.step("picture, reload") as page:
            page.reload()


def measure(address: str, *, slow: bool) -> list[Row]:
    rows = []
    walks: list[Callable[[Walk], None]] = [Walk.words, Walk.opened, Walk.again, Walk.weak, Walk.picture]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for device in SIZES:
            for each in walks:
                walk = Walk(browser, address, device, slow)
                each(walk)
                walk.context.close()
                rows += walk.rows
        browser.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("--slow", action="store_true", help="over 3G: 500 kbit/s, 400 ms")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.address.rstrip("/") + "/", slow=options.slow)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print("| path | device | shift | with input | LCP ms | requests | kB | what moved |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        moved = ", ".join(dict.fromkeys(row.moved))
        print(
            f"| {row.path} | {row.device} | {row.shift:.3f} | {row.shift_with_input:.3f} | {row.paint or '–'} "
            f"| {row.requests} | {row.kilobytes:.0f} | {moved} |"
        )


if __name__ == "__main__":
    main()
