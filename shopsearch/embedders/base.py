"""The interface of an embedder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from django.core.checks import CheckMessage

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Query, Vectors


class Embedder(ABC):
    """Maps texts, pictures and pairs of both into one space, where the cosine says how well two things match.

    A subclass is a keyword-only dataclass whose fields are its OPTIONS. Constructing it is cheap: it reads no weights
    and imports no framework. The model loads on first use, once per process, and is thread-safe.
    """

    @property
    @abstractmethod
    def space(self) -> str:
        """The name of the vector space: embedders with equal names give equal vectors for equal input.

        At most 64 lower-case letters, digits and underscores. It changes whenever the weights or the preprocessing
        change, and is part of the collection's name. Does not load the model.
        """

    @property
    @abstractmethod
    def dimension(self) -> int:
        """The length of a vector. Does not load the model."""

    batch_size: int = 32
    """How many queries to give to ``embed`` at once; more would not be faster."""
    packages: ClassVar[tuple[str, ...]] = ()
    """The ``conf.EXTRAS`` that the model needs where it runs. ``manage.py check`` reports missing ones."""

    @abstractmethod
    def embed(self, queries: Sequence[Query]) -> Vectors:
        """One vector per query, in order: shape (n, dimension), float32, unit length, finite.

        Texts, pictures and pairs may be mixed in one batch; an image's vector does not depend on the rest of the batch
        (within float rounding). Texts are truncated to the model's limit.

        Raises EmbedderError if the model cannot answer at the moment, ImproperlyConfigured if its files are missing
        or wrong.
        """

    def reduced(self, image: Image) -> Image:
        """The smallest picture with the same vector that the embedder can make: use it for hashing and sending.

        Reducing it again changes nothing. Does not load the model.
        """
        return image

    def check(self) -> list[CheckMessage]:
        """What ``manage.py check`` should say about the options. Does not load the model."""
        return []
