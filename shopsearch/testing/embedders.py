"""An embedder for tests that really sees colour."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shopsearch.embedders.base import Embedder
from shopsearch.registry.analyzer import plain
from shopsearch.types import Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Vectors

COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "scarlet", "crimson", "rojo", "roja"),
    "orange": ("orange", "naranja"),
    "yellow": ("yellow", "gold", "golden", "amarillo", "amarilla", "dorado", "dorada"),
    "green": ("green", "verde"),
    "turquoise": ("turquoise", "teal", "cyan", "turquesa"),
    "blue": ("blue", "navy", "azul", "azule"),
    "purple": ("purple", "violet", "morado", "morada", "violeta"),
    "pink": ("pink", "magenta", "rosa", "rosado", "rosada"),
    "brown": ("brown", "marron", "marrone"),
    "black": ("black", "negro", "negra"),
    "grey": ("grey", "gray", "silver", "gris", "grise"),
    "white": ("white", "blanco", "blanca"),
}
"""The colours that ColourEmbedder sees, with the words that it knows for each, and their plurals in -s."""

_NAMES = list(COLOURS)
_COLOUR_OF = {word: _NAMES.index(name) for name, words in COLOURS.items() for word in words}

# Where each hue begins on a circle of 256; red wraps around its end.
_HUES = [(0, "red"), (11, "orange"), (32, "yellow"), (48, "green"), (115, "turquoise"), (138, "blue")]
_HUES += [(182, "purple"), (208, "pink"), (243, "red")]

_THUMBNAIL, _WORDS = 4, 35

_DETAIL, _WORD, _BACKGROUND = 0.15, 0.35, 0.05


@dataclass(kw_only=True, eq=False)
class ColourEmbedder(Embedder):
    """Embeds words by the colours that they name, and pictures by how much they have of each colour.

    It knows colour words in English and Spanish. A composed query mixes its words and its picture. Other words and
    the picture's coarse texture add a little, so that different things have different vectors. Equal input gives equal
    vectors in every process.
    """

    space: str = "colour"
    """Part of the space's name: with another name it is another model."""
    batch_size: int = 32
    embedded: int = field(default=0, init=False)
    """How many queries were embedded so far; a test may reset it to 0."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def dimension(self) -> int:
        return len(COLOURS) + 3 * _THUMBNAIL**2 + _WORDS + 1

    def embed(self, queries: Sequence[Query]) -> Vectors:
        """One vector per query: (n, 96), float32, unit length. Never fails."""
        vectors = np.zeros((len(queries), self.dimension), np.float32)
        for vector, query in zip(vectors, queries, strict=True):
            if query.image is not None:
                vector += unit(_see(query.image))
            if query.text:
                vector += unit(_read(query.text))
            if not vector.any():
                vector[-1] = 1  # an empty query: far from everything
            vector[:] = unit(vector)
        with self._lock:
            self.embedded += len(queries)
        return vectors


def unit(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _read(text: str) -> npt.NDArray[np.float32]:
    """Colour words count fully, each other word a little."""
    colours, words = np.zeros(len(COLOURS), np.float32), np.zeros(_WORDS, np.float32)
    for word in plain(text).split():
        colour = _COLOUR_OF.get(word, _COLOUR_OF.get(word.removesuffix("s")))
        if colour is None:
            digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
            words[digest[0] % _WORDS] += 1 if digest[1] % 2 else -1
        else:
            colours[colour] += 1
    return np.concatenate([unit(colours), np.zeros(3 * _THUMBNAIL**2), _WORD * unit(words), [0]]).astype(
        np.float32
    )


def _see(image: Image) -> npt.NDArray[np.float32]:
    """How much the picture has of each colour, where pixels unlike its border count most; and a thumbnail."""
    small = image.convert("RGB").resize((32, 32))
    pixels = np.asarray(small, np.float32) / 255
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    weights = _BACKGROUND + np.linalg.norm(pixels - np.median(border, axis=0), axis=2)
    hue, saturation, brightness = np.asarray(small.convert("HSV"), np.int16).reshape(-1, 3).T
    starts = np.array([start for start, _ in _HUES])
    hues = np.array([_NAMES.index(name) for _, name in _HUES])
    colours = hues[np.searchsorted(starts, hue, side="right") - 1]
    warm = (hue < 32) | (hue >= 243)
    colours[warm & (brightness < 160) & (hue >= 5) & (hue < 32)] = _NAMES.index("brown")
    colours[warm & (brightness > 200) & (saturation < 120) & ((hue < 11) | (hue >= 243))] = _NAMES.index(
        "pink"
    )
    colours[saturation < 40] = _NAMES.index("grey")
    colours[(saturation < 40) & (brightness > 200)] = _NAMES.index("white")
    colours[brightness < 50] = _NAMES.index("black")
    amounts = np.bincount(colours, weights=weights.ravel(), minlength=len(COLOURS)).astype(np.float32)
    thumbnail = np.asarray(small.resize((_THUMBNAIL, _THUMBNAIL)), np.float32).ravel() / 255 - 0.5
    return np.concatenate([unit(amounts), _DETAIL * thumbnail, np.zeros(_WORDS + 1)]).astype(np.float32)
