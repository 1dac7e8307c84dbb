"""CLIP, SigLIP and similar models: a text tower and a vision tower with one space."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from shopsearch.embedders.torch_model import TorchEmbedder, read_tokenizer, truncate
from shopsearch.embedders.two_tower import folder as tower_folder
from shopsearch.embedders.two_tower import open_clip
from shopsearch.types import Query

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image
    from tokenizers import Tokenizer

    from shopsearch.embedders.two_tower.model import Towers
    from shopsearch.types import Vectors

Item = TypeVar("Item")


@dataclass(kw_only=True, eq=False)
class TowerEmbedder(TorchEmbedder):
    """The base of two-tower models: all but how the features of a text and a picture become one vector."""

    @cached_property
    def folder(self) -> tower_folder.TowerFolder:
        return tower_folder.read(tower_folder.find(self.model, self.weights, self.revision), self.weights)

    def text_features(self, model: Towers, tokenizer: Tokenizer, texts: Sequence[str]) -> Vectors:
        """Shape (n, dimension), in order; truncated to the tower's limit."""
        prepared, limit = self.folder.prepared, model.tokens.limit
        rows = [truncate(tokenizer.encode(prepared(text)).ids, limit) for text in texts]
        # Shortest first, because a batch is padded to its longest text.
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        return self._in_batches(rows, order, model.text_features)

    def image_features(self, model: Towers, pictures: Sequence[Image]) -> Vectors:
        """Shape (n, dimension), in order."""
        import numpy as np
        import torch

        def features(few: Sequence[Image]) -> torch.Tensor:
            pixels = np.stack([self.folder.preprocessing(picture) for picture in few])
            return model.image_features(torch.from_numpy(pixels))

        return self._in_batches(pictures, range(len(pictures)), features)

    def _in_batches(
        self, items: Sequence[Item], order: Sequence[int], features: Callable[[Sequence[Item]], torch.Tensor]
    ) -> Vectors:
        import numpy as np

        found = np.zeros((len(items), self.dimension), dtype=np.float32)
        for start in range(0, len(items), self.batch_size):
            places = list(order[start : start + self.batch_size])
            found[places] = features([items[place] for place in places]).cpu().numpy()
        return found

    def faults(self) -> list[str]:
        return [*super().faults(), *self.file_faults()]

    def build(
        self, state: Mapping[str, torch.Tensor], dtype: torch.dtype, device: str
    ) -> tuple[Any, Tokenizer]:
        from shopsearch.embedders.two_tower.model import Towers

        folder = self.folder
        if folder.open_clip:
            state = open_clip.renamed(state)
        model = Towers.load(state, folder, dtype=dtype, device=device)
        tokenizer = read_tokenizer(folder.path)
        model.check_closing_id(tokenizer.encode("").ids)
        return model, tokenizer


@dataclass(kw_only=True, eq=False)
class FusedTowers(TowerEmbedder):
    """Models that cannot read pairs; a rule fuses the features of both towers."""

    @property
    def useful_side(self) -> int:
        return self.folder.preprocessing.useful_side

    def reduced(self, image: Image) -> Image:
        preprocessing = self.folder.preprocessing
        return preprocessing.square(image.convert("RGB")) if preprocessing.square_is_final else image

    @abstractmethod
    def fuse(self, words: Vectors, pictures: Vectors) -> Vectors:
        """The pairs' vectors, of any length, from their features."""

    def embed_with(self, model: Towers, tokenizer: Tokenizer, queries: Sequence[Query]) -> Vectors:
        import numpy as np

        with_words = [place for place, query in enumerate(queries) if query.text or query.image is None]
        with_picture = [place for place, query in enumerate(queries) if query.image is not None]
        words = np.zeros((len(queries), self.dimension), dtype=np.float32)
        pictures = np.zeros_like(words)
        words[with_words] = self.text_features(
            model, tokenizer, [queries[place].text for place in with_words]
        )
        pictures[with_picture] = self.image_features(
            model, [image for query in queries if (image := query.image) is not None]
        )
        vectors: Vectors = words + pictures
        both = sorted({*with_words} & {*with_picture})
        vectors[both] = self.fuse(words[both], pictures[both])
        return unit(vectors)


@dataclass(kw_only=True, eq=False)
class TwoTower(FusedTowers):
    """Embeds words and pictures with a CLIP, SigLIP or SigLIP 2 of transformers, from a folder or the hub.

    These models cannot read pairs. The vector of a picture with words is the mean of both unit vectors, weighted by
    ``text_weight`` and normalised again.
    """

    text_weight: float = 0.5
    """The words' weight beside a picture, from 0 (only the picture) to 1 (only the words). Part of the space."""

    title = "model of two towers"

    @property
    def family(self) -> str:  # type: ignore[override]
        return self.folder.family

    @cached_property
    def space(self) -> str:
        fingerprint = self.folder.fingerprint()
        if self.text_weight != 0.5:
            fingerprint = hashlib.sha256(f"{fingerprint} {self.text_weight:.6f}".encode()).hexdigest()
        return f"{self.family}_{self.dimension}_{fingerprint[:12]}"

    def fuse(self, words: Vectors, pictures: Vectors) -> Vectors:
        fused: Vectors = self.text_weight * unit(words) + (1 - self.text_weight) * unit(pictures)
        return fused

    def faults(self) -> list[str]:
        wrong = [] if 0 <= self.text_weight <= 1 else ["text_weight must be from 0 to 1."]
        return wrong + super().faults()


def unit(vectors: np.ndarray[Any, Any]) -> Vectors:
    """The rows, scaled to unit length."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(lengths, 1e-12)
    return scaled
