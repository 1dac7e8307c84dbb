"""The starter's vectors: what the network and the tower see, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as Pictures

from shopsearch.embedders.photos import colours, learned, patterns
from shopsearch.embedders.photos.learned import Learned, Phrases, unit
from shopsearch.embedders.photos.parts import PARTS, SIZE, scaled

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.embedders.photos.colours import Numbers
    from shopsearch.embedders.photos.network import EfficientNetLite2
    from shopsearch.embedders.photos.towers import TextTower


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The models and tables: what is in memory after the first query."""

    network: EfficientNetLite2
    tower: TextTower
    learned: Learned
    phrases: Phrases

    def pictures(self, images: Sequence[Image]) -> Numbers:
        """Shape (n, DIMENSION) of pictures whose longer edge has at most SIZE pixels."""
        pixels = np.stack([np.asarray(square(image), np.float32).transpose(2, 0, 1) for image in images])
        with torch.inference_mode():
            # As the weights were trained; ImageNet's mean and deviation cost 8 points of top-1.
            normalised = (torch.from_numpy(pixels) - 127) / 128
            seen = self.network(normalised.contiguous(memory_format=torch.channels_last))
        features, details, logits = (tensor.numpy() for tensor in seen)
        sight = self.learned.sight(features, details)
        named, shades = zip(*(colours.seen(image) for image in images), strict=True)
        return joined(
            {
                "sight": sight,
                "meaning": self.phrases.meaning_of_pictures(logits),
                "kinds": self.learned.kinds_of(sight),
                "patterns": self.learned.patterns_of(sight),
                "colours": unit(np.stack(named) - self.learned.colours_mean),
                "shades": unit(np.stack(shades) - self.learned.shades_mean),
            },
            len(images),
        )

    def texts(self, texts: Sequence[str]) -> Numbers:
        """Shape (n, DIMENSION)."""
        with torch.inference_mode():
            vectors = self.tower(texts)
        asked = self.phrases.asked(vectors)
        return joined(
            {
                "sight": asked[:, : learned.CLASSES] @ self.learned.classes,
                "meaning": self.phrases.meaning_of_texts(vectors),
                "kinds": asked[:, learned.CLASSES :],
                "patterns": np.stack([patterns.asked(text) for text in texts]),
                "colours": np.stack([colours.asked(text) for text in texts]),
            },
            len(texts),
        )


def weights(role: str) -> Numbers:
    """How much each number of a vector counts in this role, which is one of Part's."""
    return np.concatenate([np.full(part.size, getattr(part, role), np.float32) for part in PARTS])


def joined(parts: Mapping[str, Numbers], rows: int) -> Numbers:
    """(rows, DIMENSION): the parts side by side; zeros for a part that is missing."""
    return np.concatenate(
        [parts.get(part.name, np.zeros((rows, part.size), np.float32)) for part in PARTS], axis=1
    )


def square(image: Image) -> Image:
    """The whole picture on a square of its border's colour, 260 pixels wide."""
    if max(image.size) != SIZE:
        image = image.resize(scaled(image.size, SIZE / max(image.size)), Pictures.Resampling.BICUBIC)
    pixels: Any = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = (int(value) for value in np.median(border, axis=0))
    found = Pictures.new("RGB", (SIZE, SIZE), (red, green, blue))
    found.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return found
