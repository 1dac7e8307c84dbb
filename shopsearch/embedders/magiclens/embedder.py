"""MagicLens, base and large: embeds a picture, alone or with words that say which related picture is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_noop as _

from shopsearch.embedders import model_folder
from shopsearch.embedders.preprocessing import Preprocessing
from shopsearch.embedders.torch_model import read_tokenizer
from shopsearch.embedders.two_tower import folder as tower_folder
from shopsearch.embedders.two_tower.embedder import TowerEmbedder, unit
from shopsearch.exceptions import QueryError
from shopsearch.types import Query

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from PIL.Image import Image
    from tokenizers import Tokenizer

    from shopsearch.embedders.magiclens.model import MagicLensModel
    from shopsearch.types import Vectors


@dataclass(kw_only=True, eq=False)
class MagicLens(TowerEmbedder):
    """Embeds pictures and pairs with MagicLens, from a folder that ``manage.py shopsearch_models convert`` made.

    A query of words alone raises QueryError: the model was not trained for it and would answer at random. A picture
    alone is embedded with the empty text, as its authors index pictures.
    """

    family = "magiclens"
    title = "MagicLens"

    @cached_property
    def folder(self) -> tower_folder.TowerFolder:
        if not self.model:
            raise ImproperlyConfigured(
                "Name the folder that manage.py shopsearch_models convert made of MagicLens's weights."
            )
        path = tower_folder.find(self.model, self.weights, self.revision)
        model_folder.require(path)
        config = tower_folder.read_json(path / "config.json")
        if config.get("model_type") != self.family:
            raise ImproperlyConfigured(
                f"{path / 'config.json'} is not of a MagicLens; make the folder of its authors' file with "
                "manage.py shopsearch_models convert."
            )
        try:
            return tower_folder.TowerFolder(
                path=path,
                weights=Path(self.weights).expanduser() if self.weights else path / tower_folder.SAFETENSORS,
                config=config,
                preprocessing=OwnMaximum(size=int(config["vision_config"]["image_size"])),
                tokens=tower_folder.TextTokens(limit=int(config["text_config"]["max_position_embeddings"])),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ImproperlyConfigured(f"{path} does not describe a MagicLens: {error!r}.") from error

    def embed(self, queries: Sequence[Query]) -> Vectors:
        if any(query.image is None for query in queries):
            raise QueryError(_("This search needs a picture; add one to the words."))
        return super().embed(queries)

    def embed_with(self, model: Any, tokenizer: Tokenizer, queries: Sequence[Query]) -> Vectors:
        import numpy as np
        import torch

        words = self.text_features(model, tokenizer, [query.text for query in queries])
        pictures = self.image_features(
            model, [image for query in queries if (image := query.image) is not None]
        )
        pairs = [
            model(torch.from_numpy(words[start:end]), torch.from_numpy(pictures[start:end])).cpu().numpy()
            for start in range(0, len(queries), self.batch_size)
            for end in [start + self.batch_size]
        ]
        return unit(np.concatenate(pairs))

    def build(
        self, state: Mapping[str, torch.Tensor], dtype: torch.dtype, device: str
    ) -> tuple[MagicLensModel, Tokenizer]:
        from shopsearch.embedders.magiclens.model import MagicLensModel

        folder = self.folder
        model = MagicLensModel.load(state, folder, dtype=dtype, device=device)
        return model, read_tokenizer(folder.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMaximum(Preprocessing):
    """Divide by the picture's own largest value; scale both edges to ``size``, bilinear; normalise each channel."""

    def __call__(self, image: Image) -> npt.NDArray[np.float32]:
        """Shape (3, size, size)."""
        import numpy as np

        pixels = self.brightened(image)
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (self.mean, self.std))
        normalised: npt.NDArray[np.float32] = (pixels - mean) / std
        return normalised

    def brightened(self, image: Image) -> npt.NDArray[np.float32]:
        """Shape (3, size, size), from 0 to 1."""
        import numpy as np
        import torch

        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float()
        pixels = pixels / (pixels.max() + 1e-12)
        squashed = torch.nn.functional.interpolate(
            pixels[None], (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
        )
        brightened: npt.NDArray[np.float32] = squashed[0].numpy()
        return brightened
