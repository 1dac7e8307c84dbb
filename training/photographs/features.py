"""What the network sees of each picture and of some views of it, once; everything is fitted on that."""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from demo_project.rendering.palettes import PATTERNS as PRINTS
from demo_project.rendering.palettes import colours_of
from demo_project.rendering.products import SHAPES, SNAPSHOTS, STUDIO, TRAINING_VARIANTS, product_picture
from shopsearch.embedders.photos import colours
from shopsearch.embedders.photos.network import read_network
from shopsearch.embedders.photos.vectors import square
from shopsearch.embedders.photos.wheels import default_cache
from training.photographs.views import view

VIEWS = {"caltech": 2, "contoso": 4, "photographs": 3}
RENDERS = 1200


class Shown(NamedTuple):
    source: str
    thing: str
    """Equal in the views of one thing."""
    label: str
    """The kind of a photograph, the pattern of a render."""
    photographer: int
    image: Image.Image


def shown(pictures: Path, photographs: Path) -> Iterator[Shown]:
    """Each picture, the original before its views."""
    rows: list[tuple[str, Path, str, int]] = [
        (file.name.split("-")[0], file, "", -1) for file in sorted(pictures.glob("*.jpg"))
    ]
    for line in (photographs / "photographs.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows.append(("photographs", photographs / row["file"], row["label"], row["photographer"]))
    backgrounds = sorted(pictures.glob("caltech-BACKGROUND*"))
    for source, file, label, photographer in tqdm(rows, mininterval=10):
        original = Image.open(file).convert("RGB")
        dice = random.Random(f"{source}{file.name}")
        yield Shown(source, file.name, label, photographer, original)
        for _ in range(VIEWS[source]):
            image = view(original.copy(), Image.open(dice.choice(backgrounds)), dice)
            yield Shown(source, file.name, label, photographer, image)


def rendered() -> Iterator[Shown]:
    """Products of the demo's renderer: the only pictures here whose patterns are known."""
    dice = random.Random(5)
    for number in tqdm(range(RENDERS), mininterval=10):
        pattern = PRINTS[number % len(PRINTS)]
        image = product_picture(
            dice.choice(list(SHAPES)),
            pattern,
            dice.choice(colours_of(pattern)),
            design=number,
            size=260,
            variants=TRAINING_VARIANTS,
            style=dice.choice([SNAPSHOTS, STUDIO]),
        )
        yield Shown("renders", f"render-{number}", pattern, -1, image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("--only", choices=["photographs", "renders"])
    parser.add_argument("--cache", type=Path, default=default_cache())
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = read_network(options.cache)
    table = defaultdict(list)
    sources = {"photographs": shown(options.pictures, options.photographs), "renders": rendered()}
    for name, source in sources.items():
        if options.only not in (None, name):
            continue
        for row in source:
            pixels = np.asarray(square(row.image), np.float32).transpose(2, 0, 1)
            normalised = (torch.from_numpy(pixels)[None] - 127) / 128
            with torch.inference_mode():
                seen = network(normalised.contiguous(memory_format=torch.channels_last))
            for key, tensor in zip(("features", "details", "logits"), seen, strict=True):
                table[key].append(tensor[0].numpy().astype(np.float16))
            named, shades = colours.seen(row.image)
            table["colours"].append(named)
            table["shades"].append(shades)
            for key in ("source", "thing", "label", "photographer"):
                table[key].append(getattr(row, key))
    np.savez(options.features, **{key: np.array(column) for key, column in table.items()})


if __name__ == "__main__":
    main()
