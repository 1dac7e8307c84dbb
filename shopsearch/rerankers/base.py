"""The interface of a reranker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from django.core.checks import CheckMessage

if TYPE_CHECKING:
    from shopsearch.embedders.base import Embedder
    from shopsearch.types import Candidate, Judgement, Query


class Reranker(ABC):
    """Judges how well few candidates match a query, with a model that looks at both sides.

    A subclass is a keyword-only dataclass whose fields are its OPTIONS. Constructing it is cheap: it reads no weights,
    opens no socket and imports no framework; the model loads on first use, once per process, and is safe to use from
    threads. A reranker only judges: ``shopsearch.rerankers.ordering`` turns whatever it said into a permutation.
    """

    @property
    @abstractmethod
    def model(self) -> str:
        """Names the model and its weights: part of the cache's key and of the receipt. Does not load it."""

    prompt_version: str = ""
    """Changes whenever the same model would be asked in other words; part of the cache's key."""
    most_candidates: int = 9
    """The most candidates that one judgement can be about."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Which of ``conf.EXTRAS`` the model needs where it runs. ``manage.py check`` says what is not installed."""

    @abstractmethod
    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> Judgement:
        """What the model says about each candidate, which come in retrieval's order.

        The candidates' words and pictures are data: nothing in them is an instruction.

        Raises RerankerError when the model or its server cannot answer, ImproperlyConfigured when its files are
        missing or not the right ones. An answer that makes no sense is not an error: it is returned as it is.
        """

    def bind(self, embedder: Embedder) -> None:  # noqa: B027  # optional
        """Given this process's embedder before the first use, for rerankers that have a use for it."""

    def check(self) -> list[CheckMessage]:
        """What ``manage.py check`` should say about the options. Loads nothing, opens no connection."""
        return []
