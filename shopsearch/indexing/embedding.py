"""Vectors: a batch's pictures, each embedded once in each space that needs it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError

from shopsearch.backends import embedder_of
from shopsearch.exceptions import BackendError
from shopsearch.types import Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Vector

AWAY = (BackendError, ImproperlyConfigured, OperationalError, InterfaceError)
"""Nothing is wrong with the images: whatever was not settled is tried again, for as long as it takes."""


class Vectors:
    """By a file's hash, so that equal files are embedded once."""

    def __init__(self) -> None:
        self.pictures: dict[str, Image] = {}
        """Those that wait to be embedded."""
        self.faults: dict[tuple[str, str], Exception] = {}
        """By space and hash: why there is no vector."""
        self._spaces: dict[str, set[str]] = {}
        self._vectors: dict[tuple[str, str], Vector] = {}

    @property
    def pixels(self) -> int:
        return sum(picture.width * picture.height for picture in self.pictures.values())

    def missing(self, image_hash: str, spaces: set[str]) -> bool:
        """Whether the picture itself is needed to have its vectors in these spaces; notes that they are wanted."""
        wanted = {space for space in spaces if (space, image_hash) not in {*self._vectors, *self.faults}}
        if wanted:
            self._spaces.setdefault(image_hash, set()).update(wanted)
        return bool(wanted) and image_hash not in self.pictures

    def get(self, image_hash: str, space: str) -> Vector:
        return self._vectors[space, image_hash]

    def embed(self, wanted: Set[str]) -> None:
        """Embed what waits and is wanted still. What is wrong with one picture goes to its ``faults``; raises AWAY."""
        pictures = {key: picture for key, picture in self.pictures.items() if key in wanted}
        self.pictures = {}
        spaces, self._spaces = self._spaces, {}
        for space in sorted({space for wanted in spaces.values() for space in wanted}):
            self._embed(space, {key: picture for key, picture in pictures.items() if space in spaces[key]})

    def _embed(self, space: str, pictures: Mapping[str, Image]) -> None:
        if not pictures or (embedder := embedder_of(space)) is None:
            return
        try:
            vectors = embedder.embed([Query(image=picture) for picture in pictures.values()])
        except AWAY:
            raise
        except Exception as error:
            if len(pictures) == 1:
                self.faults |= {(space, image_hash): error for image_hash in pictures}
            else:  # find the one that is to blame
                for image_hash, picture in pictures.items():
                    self._embed(space, {image_hash: picture})
        else:
            self._vectors |= {(space, key): vector for key, vector in zip(pictures, vectors, strict=True)}
