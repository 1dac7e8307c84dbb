"""What a search asks and what it answers, whoever asks: the API, the page, Python, the evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.utils.translation import get_language

from shopsearch.search.examples import Example, KnownExample
from shopsearch.types import Match, Query, Result, Retrieval

if TYPE_CHECKING:
    from shopsearch.models import Rerank
    from shopsearch.registry import ImageIndex
    from shopsearch.search.facets import Facet, Number
    from shopsearch.search.rules import Banner, Rule


def _active_language() -> str:
    return get_language() or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """Everything that is asked of one search. Nothing is checked yet: ``engine.answer`` does that."""

    text: str = ""
    language: str = field(default_factory=_active_language)
    """Of the text, such as "es"; the active language unless given."""
    correct: bool = True
    """Whether typing errors in the text may be corrected."""
    examples: Sequence[Example] = ()
    """What the results should be like or unlike, at most MAX_EXAMPLES. The words say what should be different from the
    first picture that is wanted, or, without one, from the first image of the shop; the others count by their vectors.
    """
    filters: Mapping[str, object] = field(default_factory=dict)
    """As ``shopsearch.filters.parse`` takes them."""
    sort: str = ""
    """One of ``sorting.sort_names``; "" for relevance."""
    limit: int | None = None
    """SHOPSEARCH["PAGE_SIZE"] unless given."""
    offset: int = 0
    index: str = ""
    """The shop's own unless given."""
    facets: Sequence[str] | None = None
    """The filters whose values are to be counted, "*" for all; None for no facets."""
    wants_rerank: bool = False
    rules: Sequence[Rule] | None = None
    """Those in force unless given; none where search itself is measured, the one that is tried in a preview."""

    @property
    def has_picture(self) -> bool:
        """Whether a picture may have to be decoded."""
        return any(
            each.image is not None or each.image_id is not None or (self.text and each.is_wanted)
            for each in self.examples
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer:
    """A page of results, best first, and everything else that one search answers."""

    request: SearchRequest
    index: ImageIndex
    query: Query
    """What was searched with: the words without extra spaces, typing errors and what they exclude; the picture made
    small. Empty for stored vectors."""
    corrected: str = ""
    """The text that was searched for instead of the one that was typed; "" where it had no typing errors."""
    results: tuple[Result, ...] = ()
    offset: int
    limit: int
    has_next: bool = False
    weak_below: float | None = None
    """The score below which a result is a weak match of this query; None where nothing was calibrated."""
    match: Match = "unknown"
    """Of the best result of all pages: weak means that the shop may not sell what is asked for."""
    retrieval: Retrieval = "vectors"
    """What found the results."""
    is_named: bool = False
    """Whether the best result of all pages has exactly the asked name."""
    examples: Sequence[KnownExample] = ()
    """Those of the request that the shop still shows, and its pictures."""
    facets: Sequence[Facet] | None = None
    """None where none were asked for."""
    number: Number | None = None
    """How many products the result set has; None where no facets were asked for, or where there is no such set."""
    rules: Sequence[Rule] = ()
    """The rules of the house that this search fired, the first to count first."""
    banner: Banner | None = None
    """What a rule says above the results."""
    redirect: str = ""
    """Where a rule leads this search: a page of this shop, or of a host that RULE_HOSTS allows."""
    is_steered: bool = False
    """Whether examples count beside what ``query`` says: then a reranker, which sees the query, has no say."""
    rerank: Rerank | None = None
    """The better order that was asked for; None where none was, or where there is nothing to gain."""
