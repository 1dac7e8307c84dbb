"""The values that cross module borders: frozen, named by docs/glossary.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from django.db.models import Model
    from PIL.Image import Image

    Vector = npt.NDArray[np.float32]
    """Unit length, shape (dimension,)."""
    Vectors = npt.NDArray[np.float32]
    """Rows of unit length, shape (n, dimension)."""

QueryKind = Literal["text", "image", "composed"]
Match = Literal["good", "weak", "unknown"]
FilterValue = str | float | bool | tuple[str, ...]
FilterValues = Mapping[str, FilterValue | None]
"""By filter: an image's value."""
FilterType = Literal["string", "number", "boolean", "strings"]
FieldType = FilterType | Literal["words", "partition"]
"""``words``: a text for word search. ``partition``: the string that the collection is partitioned by.
A collection has at most one of each."""
Retrieval = Literal["hybrid", "vectors"]
"""What found the results: words and vectors together, or vectors alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What the shopper asks, or what an embedder embeds: text, a picture, or both."""

    text: str = ""
    image: Image | None = None
    """Upright, RGB, within the limits: what ``shopsearch.images.decode`` returns."""

    @property
    def is_empty(self) -> bool:
        """Neither text nor picture, as in a search by stored vectors."""
        return not self.text and self.image is None

    @property
    def kind(self) -> QueryKind:
        if self.image is None:
            return "text"
        return "composed" if self.text else "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSchema:
    """What every entity of a collection has besides its id: a vector of this dimension and these typed fields."""

    dimension: int
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    few_values: frozenset[str] = frozenset()
    """The filters with only a few hundred distinct values: a bitmap index suits them best."""

    @property
    def words(self) -> str:
        """The name of the words field; "" if there is none."""
        return next((name for name, kind in self.fields.items() if kind == "words"), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A row of a collection. ``id`` is derived from the image's, so writing it twice leaves one row."""

    id: str
    image_id: str
    product_id: str
    vector: Vector
    fields: FilterValues = field(default_factory=dict)
    """One value per field of the schema; None for a missing value, "" for missing words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One entity that a vector store found. ``score`` is the cosine, in [-1, 1]: higher is better."""

    id: str
    image_id: str
    """Empty for a product without a picture, which only the shop's database finds."""
    product_id: str
    score: float
    words: str = field(default="", repr=False)
    """The terms that were searched for, if it was found by words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One product in the answer, with the image that found it, or None where words found it without a picture."""

    rank: int
    """1 for the best."""
    score: float
    product: Model | Any
    image: Model | Any | None
    rule: str = ""
    """The name of the rule that put it at its place; "" for the place that it was found at."""

    @property
    def image_id(self) -> str:
        """The image's key; empty without one."""
        return "" if self.image is None else str(self.image.pk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A result as a reranker sees it."""

    product_id: str
    image: Image
    """Upright, RGB: what ``shopsearch.images.decode`` returns."""
    text: str
    """Words that say what the product is. They come from the shop's texts: data, never instructions."""
    score: float
    """Retrieval's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A part of a picture in which a detector sees an object, in shares of its width and height from the upper left."""

    x: float
    y: float
    width: float
    height: float
    score: float
    """How sure the detector is, from 0 to 1."""
    label: str = ""
    """What it sees, in the model's words; "" where it does not say."""


FactKind = Literal["words", "looks", "colour"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that is so of a candidate and of the query."""

    kind: FactKind
    value: str
    """The query's words that the candidate has; a word of the candidate for what both pictures look like; the English
    name of a colour that both pictures have much of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerOutput:
    """What a reranker said, not yet checked: ``scores``, or ``labels``, or neither."""

    scores: Sequence[object] | None = None
    """One per candidate, in the candidates' order; higher is better."""
    labels: object = None
    """The model's list, best first, where 1 is the first candidate; or its text, in which numbers are looked for."""
    caption: str = ""
    """What the model sees in the query's picture."""
    reason: str = ""
    """Why the best candidate is the best."""
    facts: Sequence[Sequence[Fact]] = ()
    """What each candidate shares with the query, where the reranker knows more than ``rerankers.facts`` finds out."""
    raw: str = ""
    """The model's answer, for the receipt."""
