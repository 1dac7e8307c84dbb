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
    """Maps text, pictures and pairs of both into one space, in which the cosine says how well two things match.

    A subclass is a keyword-only dataclass whose fields are its OPTIONS. Constructing it is cheap: it reads no weights
    and imports no framework; the model loads on first use, once per process, and is safe to use from threads.
    """

    @property
    @abstractmethod
    def space(self) -> str:
        """Names which vectors may be compared: two embedders of equal space give equal vectors for equal input.

        Lower-case letters, digits and underscores, at most 64; it follows from the weights and the preprocessing,
        changes when either does, and is part of the collection's name. Does not load the model.
        """

    @property
    @abstractmethod
    def dimension(self) -> int:
        """How many numbers a vector has. Does not load the model."""

    batch_size: int = 32
    """The most queries that are worth giving to ``embed`` at once."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Which of ``conf.EXTRAS`` the model needs where it runs. ``manage.py check`` says what is not installed."""

    @abstractmethod
    def embed(self, queries: Sequence[Query]) -> Vectors:
        """One vector per query, in order: shape (n, dimension), float32, unit length, finite.

        Texts, pictures and pairs may be mixed in one batch; an image's vector does not depend on its neighbours
        (within float rounding). Long texts are truncated to what the model reads.

        Raises EmbedderError when the model cannot answer for the moment, ImproperlyConfigured when its files are
        missing or not the right ones.
        """

    def reduced(self, image: Image) -> Image:
        """A picture that has the same vector, as small as the embedder knows one: worth hashing and sending.

        Reducing it again changes nothing. Does not load the model.
        """
        return image

    def check(self) -> list[CheckMessage]:
        """What ``manage.py check`` should say about the options. Does not load the model."""
        return []
