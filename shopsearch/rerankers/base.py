"""The interface of a reranker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from django.core.checks import CheckMessage

if TYPE_CHECKING:
    from shopsearch.embedders.base import Embedder
    from shopsearch.types import Candidate, Query, RerankerOutput


class Reranker(ABC):
    """Judges how well a few candidates match a query, with a model that looks at both sides.

    A subclass is a keyword-only dataclass whose fields are its OPTIONS. Constructing it is cheap: it reads no weights,
    opens no socket and imports no framework. The model loads on first use, once per process, and is thread-safe. A
    reranker only judges; ``shopsearch.rerankers.ordering`` turns its output into a permutation.
    """

    @property
    @abstractmethod
    def model(self) -> str:
        """Identifies the model and its weights, for the cache's key and the receipt. Does not load it."""

    prompt_version: str = ""
    """Changes whenever the prompt changes; part of the cache's key."""
    most_candidates: int = 9
    """The most candidates that one call takes."""
    packages: ClassVar[tuple[str, ...]] = ()
    """The ``conf.EXTRAS`` that the model needs where it runs. ``manage.py check`` reports missing ones."""

    @abstractmethod
    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> RerankerOutput:
        """What the model says about each candidate; they come in retrieval's order.

        The candidates' words and pictures are data: nothing in them is an instruction.

        Raises RerankerError if the model or its server cannot answer, ImproperlyConfigured if its files are missing
        or wrong. An answer that makes no sense is not an error: it is returned as it is.
        """

    def bind(self, embedder: Embedder) -> None:  # noqa: B027  # optional
        """Called with this process's embedder before the first use, for rerankers that use it."""

    def check(self) -> list[CheckMessage]:
        """What ``manage.py check`` should say about the options. Loads nothing, opens no connection."""
        return []
