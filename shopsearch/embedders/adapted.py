"""An embedder with an adapter: another model's vectors, each with a few more numbers that were fitted to a shop.

Two linear maps, one for images and one for texts, bring the shop's pictures and their titles near to each other, and
away from those of other products (``evaluation.fitting``). Their results are appended to the model's vectors::

    image             [x | √w · unit(B(x - mean of images))]
    text              [t | √w · unit(A(t - mean of texts))]
    image and text    [c | 0]

So the score of a text is the model's cosine plus w times the fitted one, and an image with a text finds what it found
before. The first numbers are the model's own vector: an adapter is fitted, replaced and removed without the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shopsearch.embedders.base import Embedder
from shopsearch.types import QueryKind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from shopsearch.types import Query, Vector, Vectors

FITTED = "_fit_"
"""The names of adapters' spaces contain it, and no other space's does."""
BASE_CHARACTERS = 48
"""How much of the model's space the adapter's name begins with; with the digest it has at most 64 characters."""
ROW: dict[QueryKind, int] = {"image": 0, "text": 1}


@dataclass(kw_only=True, eq=False)
class AdaptedEmbedder(Embedder):
    """Another embedder with an adapter, in a space of its own: its vectors never meet those of the model alone."""

    embedder: Embedder
    numbers: Vectors
    """Shape (2, dimension of the embedder, 1 + rank): for images and for texts, the mean beside the linear map."""
    weight: float

    def __post_init__(self) -> None:
        self.batch_size = self.embedder.batch_size

    @cached_property
    def space(self) -> str:
        content = f"{self.embedder.space} {self.weight!r} ".encode() + self.numbers.astype("<f4").tobytes()
        return f"{self.embedder.space[:BASE_CHARACTERS]}{FITTED}{hashlib.sha256(content).hexdigest()[:10]}"

    @property
    def dimension(self) -> int:
        return self.embedder.dimension + int(self.numbers.shape[2]) - 1

    @property
    def useful_side(self) -> int:
        return self.embedder.useful_side

    def reduced(self, image: Image) -> Image:
        return self.embedder.reduced(image)

    def embed(self, queries: Sequence[Query]) -> Vectors:
        import numpy as np

        vectors = self.embedder.embed(queries)
        adapted = np.zeros((len(queries), self.dimension), np.float32)
        adapted[:, : self.embedder.dimension] = vectors
        kinds = np.array([query.kind for query in queries])
        for kind in ROW:
            adapted[kinds == kind] = self.adapt(vectors[kinds == kind], kind)
        return adapted

    def adapt(self, vectors: Vectors, kind: QueryKind = "image") -> Vectors:
        """The embedder's vectors of images or of texts, shape (n, its dimension), in this space."""
        import numpy as np

        mean, linear = self.numbers[ROW[kind], :, 0], self.numbers[ROW[kind], :, 1:]
        fitted = unit((vectors - mean) @ linear) * np.float32(np.sqrt(self.weight))
        return unit(np.concatenate([vectors, fitted], axis=1))

    def restore(self, vector: Vector) -> Vector:
        """The embedder's own vector within a vector of this space, up to float rounding."""
        return unit(vector[: self.embedder.dimension])


def unit(vectors: npt.NDArray[np.floating[Any]]) -> Vectors:
    """Each at unit length; zeros stay zeros."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)
