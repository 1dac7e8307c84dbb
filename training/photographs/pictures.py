"""The pictures that the starter learns from, as small copies in one folder."""

from __future__ import annotations

import argparse
import io
import random
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps
from tqdm import tqdm

LONGEST = 400
SMALLEST = 100
A_GROUP, BACKGROUNDS = 20, 60
"""The most pictures of one Caltech class, and of the class that holds whatever."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A repository on GitHub that holds openly licensed pictures."""

    name: str
    repository: str
    commit: str
    folder: str
    licence: str


SOURCES = (
    Source(
        name="caltech",
        repository="MachineLearning2020/Homework2-Caltech101",
        commit="836044dd000296b2bb74d0aa4b4e462e459b01d7",
        folder="101_ObjectCategories",
        licence="CC BY 4.0: Caltech 101, Li, Andreeto, Ranzato and Perona, https://doi.org/10.22002/D1.20086",
    ),
    Source(
        name="contoso",
        repository="microsoft/ContosoTraders",
        commit="96790a39319748aa91f7b0517bcd341922066cba",
        folder="src/ContosoTraders.Api.Images",
        licence="MIT",
    ),
)


def files(clone: Path, source: Source) -> Iterator[tuple[str, str]]:
    """Each picture's object and path."""
    listing = _git(clone, "ls-tree", "-r", "-z", source.commit, source.folder).decode()
    for line in filter(None, listing.split("\0")):
        meta, path = line.split("\t")
        if path.lower().endswith((".jpg", ".jpeg", ".png", ".webp")):
            yield meta.split()[2], path


def chosen(clone: Path, source: Source, dice: random.Random) -> Iterator[tuple[str, str]]:
    """Each picture's object and the name of its copy; of a large class only some. No faces."""
    groups = defaultdict(list)
    for key, path in files(clone, source):
        groups[Path(path).parent.name].append(key)
    for group, keys in sorted(groups.items()):
        if group.startswith("Faces"):
            continue
        dice.shuffle(keys)
        limit = len(keys)
        if source.name == "caltech":
            limit = BACKGROUNDS if "BACKGROUND" in group else A_GROUP
        named = re.sub(r"\W", "_", group)
        for number, key in enumerate(keys[:limit]):
            yield key, f"{source.name}-{named}-{number}.jpg"


def reduced(data: bytes) -> Image.Image | None:
    """The picture on white, at most 400 pixels; None for what is too small or no picture."""
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    except OSError:
        return None
    if min(image.size) < SMALLEST:
        return None
    image.thumbnail((LONGEST, LONGEST))
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


def _git(clone: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(clone), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 # nosec B607


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--clones", type=Path, required=True, help="the folder of clones, OWNER/NAME each")
    options = parser.parse_args()
    options.pictures.mkdir(parents=True, exist_ok=True)
    dice = random.Random(0)
    for source in SOURCES:
        clone = options.clones / source.repository
        for key, name in tqdm(list(chosen(clone, source, dice)), desc=source.name):
            if image := reduced(_git(clone, "cat-file", "blob", key)):
                image.save(options.pictures / name, quality=90)


if __name__ == "__main__":
    main()
