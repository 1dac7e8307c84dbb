"""The learning curve as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

KINDS = {
    "text": "tab:blue",
    "text, held out": "tab:cyan",
    "composed": "tab:red",
    "composed, held out": "tab:orange",
    "product, another colour": "tab:green",
    "product, another pattern": "tab:olive",
    "image, the same product": "tab:purple",
}
LOSSES = {"tower": "tab:gray", "image": "tab:purple", "composed": "tab:red", "text": "tab:blue"}


def draw_curve(
    losses: Sequence[Mapping[str, float]], recalls: Sequence[Mapping[str, float]], file: Path
) -> None:
    """Losses above, R@1 below, by step; with the hours that it took."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 8), sharex=True, layout="constrained")
    for name, colour in LOSSES.items():
        points = [(each["step"], each[name]) for each in losses if name in each]
        above.plot(*zip(*points, strict=True), label=name, color=colour, linewidth=1)
    above.set(ylabel="loss", yscale="log")
    above.legend(ncols=4, fontsize=8)
    for name, colour in KINDS.items():
        points = [(each["step"], each[name]) for each in recalls if name in each]
        below.plot(*zip(*points, strict=True), label=name, color=colour, marker="o", markersize=3)
    below.set(xlabel="step", ylabel="R@1 of an exam along the way", ylim=(0, 1))
    below.grid(alpha=0.3)
    below.legend(ncols=2, fontsize=8)
    minutes = losses[-1]["seconds"] / 60
    above.set_title(f"Training the bundled model from nothing: {minutes:.0f} minutes", fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
