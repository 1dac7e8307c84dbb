"""`make bench`: every benchmark of docs/performance.md in one run, and the page written from it.

    python -m benchmarks.run [--quick] [--only 1,2,11a] [--page]

One process after another, each told on stderr as it goes. Writes docs/performance.json, a picture for each row in
docs/pictures/performance/, and docs/performance.md. With ``--only`` the other rows stay as they were measured
before; with ``--page`` nothing is measured, and pictures and page are written from docs/performance.json. It wants a
machine that does nothing else, and says how busy it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.results import Row

ROOT = Path(__file__).parents[1]
JSON = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "pictures" / "performance"
MODULES = {
    "search_path": ("1", "2"),
    "load": ("3",),
    "indexing": ("4", "5", "6a", "6b", "9"),
    "queue_cost": ("7",),
    "save_latency": ("8",),
    "price_change": ("10",),
    "vector_store": ("11a", "11b"),
    "growth": ("12",),
    "rerank_tokens": ("13",),
    "starting": ("start",),
}
"""Which rows each module measures, in the order in which they run: first what another builds on."""
DRAWN = 400
"""So many samples of a series are drawn at most."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds: five minutes on a quiet machine")
    parser.add_argument("--only", default="", help="the rows to measure, such as 1,2,11a")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page anew")
    options = parser.parse_args()
    held = json.loads(JSON.read_text())["rows"] if JSON.exists() else []
    only = {each.strip() for each in options.only.split(",") if each.strip()}
    rows = {each["number"]: each for each in held if only or options.page}
    for module, numbers in MODULES.items():
        if not options.page and (not only or only & set(numbers)):
            rows |= {each["number"]: each for each in measured(module, numbers, quick=options.quick)}
            # After each, so that a run that is stopped leaves what it has.
            write(sorted(rows.values(), key=_place))
    write(sorted(rows.values(), key=_place))


def write(rows: list[dict[str, Any]]) -> None:
    """docs/performance.json, and the page from it."""
    JSON.write_text(json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n")
    runs = [each["run"] for each in rows]
    write_page([Row(**{name: value for name, value in each.items() if name != "run"}) for each in rows], runs)


def measured(module: str, numbers: tuple[str, ...], *, quick: bool) -> list[dict[str, Any]]:
    """The module's rows, with the run that they are from; rows without a figure where it failed."""
    print(f"benchmarks.{module}: rows {', '.join(numbers)}", file=sys.stderr, flush=True)
    program = [sys.executable, "-m", f"benchmarks.{module}", *(["--quick"] if quick else [])]
    began, before = time.monotonic(), os.getloadavg()[0]
    done = subprocess.run(program, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    run = {
        "commit": _commit(),
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": _machine(),
        "seconds": round(time.monotonic() - began),
        "load before": round(before, 1),
        "quick": quick,
    }
    if done.returncode:
        failed = f"benchmarks.{module} ended with {done.returncode}"
        rows = [
            asdict(Row(number=number, what=module, target="", measured="failed", reached=None, why=failed))
            for number in numbers
        ]
    else:
        rows = json.loads(done.stdout.splitlines()[-1])
    return [
        {**row, "samples": {k: _rounded(v) for k, v in row["samples"].items()}, "run": run} for row in rows
    ]


def _rounded(values: list[float]) -> list[float]:
    chosen = values if len(values) <= DRAWN else values[:: len(values) // DRAWN + 1]
    return [float(f"{value:.4g}") for value in chosen]


def _place(row: dict[str, Any]) -> tuple[float, str]:
    digits = "".join(each for each in row["number"] if each.isdigit())
    return (float(digits or "inf"), row["number"])


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()

    own = [":!docs/performance.*", ":!docs/pictures/performance"]
    is_changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *own)
    return git("rev-parse", "--short", "HEAD") + (" with changes" if is_changed else "")


def _machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores, {model}, Python {platform.python_version()}"


def write_page(rows: list[Row], runs: list[dict[str, Any]]) -> None:
    """docs/performance.md and its pictures."""
    lines = [
        "# Performance",
        "",
        "Written by `make bench`; `make bench ARGS=--quick` makes fewer rounds. Where two ways are compared, they ran",
        "by turns in one run. A ratio is of two medians, with its 95 % interval by the bootstrap over rounds.",
        "Processor time is of the process that works, so that other work on the machine disturbs it less than wall",
        "time. *The reference's flow* is a plain re-creation of the [Milvus article's notebook](why.md): one picture a",
        "call, decoded whole, one insert.",
        "",
        "| row | what | target | measured | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        verdict = {True: "reached", False: "**not reached**", None: "not measured"}[row.reached]
        lines.append(f"| {row.number} | {row.what} | {row.target} | {row.measured} | {verdict} |")
    lines.append("")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob("*.svg"):
        old.unlink()
    for row, run in zip(rows, runs, strict=True):
        lines += [f"## Row {row.number}: {row.what}", ""]
        if row.why:
            lines += [row.why, ""]
        if row.samples:
            name = f"row-{row.number}.svg"
            draw(row, PICTURES / name)
            lines += [f"![{row.what}](pictures/performance/{name})", ""]
        load = f"load {run['load before']} before it" + (", few rounds" if run["quick"] else "")
        lines += [f"Commit {run['commit']}, {run['when']}, {run['machine']}, {run['seconds']} s, {load}.", ""]
    PAGE.write_text("\n".join(lines).rstrip() + "\n")


def draw(row: Row, path: Path) -> None:
    """Each sample a dot and the median a line, or curves."""
    series = row.samples
    figure = Figure(figsize=(8, 3.5 if row.x else 0.9 + 0.55 * len(series)), layout="constrained")
    axes = figure.add_subplot()
    if row.x:
        for name, values in series.items():
            axes.plot(row.x[: len(values)], values, marker="o", label=name)
        axes.set(xlabel=row.x_label, ylabel=row.unit, xscale="log", ylim=(0, None))
        axes.legend(frameon=False)
    else:
        dice = np.random.default_rng(1)
        for place, values in enumerate(reversed(series.values())):
            axes.plot(values, place + dice.uniform(-0.2, 0.2, len(values)), ".", alpha=0.4, markersize=4)
            middle = float(np.median(values))
            axes.plot([middle, middle], [place - 0.32, place + 0.32], color="black", linewidth=2)
            axes.annotate(f" {middle:.3g}", (middle, place + 0.33), fontsize=8)
        axes.set_yticks(range(len(series)), list(reversed(series)))
        highest = max(float(np.percentile(values, 98)) for values in series.values())
        axes.set(xlabel=row.unit, xlim=(0, 1.15 * highest), ylim=(-0.6, len(series) - 0.2))
    axes.spines[["top", "right"]].set_visible(False)
    with rc_context({"svg.hashsalt": row.number}):  # the same samples give the same file
        figure.savefig(path, metadata={"Date": None})
    # One line for each path, or whoever reviews the change scrolls for ever.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


if __name__ == "__main__":
    main()
