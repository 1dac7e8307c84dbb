"""Writes an evaluation's figures as the tables of docs/evaluation.md, and its page as a picture."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "evaluation.md"
PICTURE = ROOT / "docs" / "pictures" / "evaluation_report.png"
PICTURE_SIZE = {"width": 1100, "height": 1180}
RERANK = "search + rerank"


def write(report: Mapping[str, Any]) -> None:
    """Put the demo's tables between the page's marks."""
    measured = f"{report['queries']:,} queries, space `{report['space']}`"
    put("demo", [f"Measured {report['measured_at'][:10]}, {measured}.", "", *demo(report)])


def put(name: str, lines: Sequence[str]) -> None:
    """Put these lines between the page's marks of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = PAGE.read_text(encoding="utf-8")
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    PAGE.write_text(found.sub(lambda _: "\n".join([begin, *lines, end]), text), encoding="utf-8")


def demo(report: Mapping[str, Any]) -> Iterator[str]:
    yield "| all queries | R@1 | R@5 | MRR | nDCG@9 |"
    yield "|---|---|---|---|---|"
    for name, figures in report["groups"][0]["figures"].items():
        yield _row(name, *(_cell(figures, measure) for measure in ("R@1", "R@5", "MRR", "nDCG@9")))
    yield ""
    yield "| nDCG@9 | queries | off | on | difference | p |"
    yield "|---|---|---|---|---|---|"
    yield from _gains(report, "nDCG@9")
    yield ""
    yield "| R@1 | queries | off | on | difference | p |"
    yield "|---|---|---|---|---|---|"
    yield from _gains(report, "R@1")


def _gains(report: Mapping[str, Any], measure: str) -> Iterator[str]:
    for group in report["groups"]:
        difference = group["differences"][RERANK][measure]
        yield _row(
            group["name"],
            str(group["queries"]),
            _cell(group["figures"]["search"], measure),
            _cell(group["figures"][RERANK], measure),
            f"{difference['mean']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]",
            "< 0.001" if difference["p_value"] < 0.001 else f"{difference['p_value']:.3f}",
        )


def _cell(figures: Mapping[str, Any] | None, measure: str) -> str:
    if figures is None:
        return "–"
    figure = figures[measure]
    return f"{figure['mean']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def photograph(page: Path) -> None:
    """The page from its top and from its worst queries, side by side as one picture. Needs Chromium."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport=PICTURE_SIZE)  # type: ignore[arg-type]
        tab.set_default_timeout(300_000)  # a machine that is busy still takes its picture
        tab.goto(page.resolve().as_uri())
        top = tab.screenshot()
        tab.get_by_role("heading", name="The worst queries").evaluate("it => it.scrollIntoView()")
        worst = tab.screenshot()
        browser.close()
    width, height = PICTURE_SIZE["width"], PICTURE_SIZE["height"]
    both = Image.new("RGB", (2 * width, height))
    for place, shot in enumerate((top, worst)):
        with Image.open(io.BytesIO(shot)) as image:
            both.paste(image.convert("RGB"), (place * width, 0))
    # 256 colours are a third of the bytes, and a repository keeps every version.
    both.resize((width * 3 // 2, height * 3 // 4)).quantize(256).save(PICTURE, optimize=True)
