"""The joint model of Visualized BGE, which its authors call VISTA: a text encoder that reads pictures too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812, as everybody writes it
from django.core.exceptions import ImproperlyConfigured
from torch import Tensor, nn

from shopsearch.embedders.bert import Bert, BertConfig
from shopsearch.embedders.visualized_bge.eva02 import Eva02, Eva02Config
from shopsearch.embedders.weights import install, weightless

TEXT_MODELS: dict[Any, dict[str, Any]] = {"bert": {}, "xlm-roberta": {"pad_token_id": 1}}
"""Where the defaults of their configuration differ from BERT's."""

RENAMED = {
    "bge_encoder.": "bge.encoder.",
    "bge_embeddings.": "bge.embeddings.",
    "model_visual.visual.": "visual.",
}
"""The authors' prefixes of tensor names, and ours."""
UNUSED = ("bge_pooler.", "model_visual.logit_scale", "model_visual.visual.head.")
"""In the authors' files, but without effect on any vector."""
COMPUTED = (".freqs_cos", ".freqs_sin", "embeddings.position_ids", "embeddings.token_type_ids")
"""In the authors' files, but computed here."""


class Vista(nn.Module):
    """Reads ``[CLS] text [SEP]`` or ``[CLS] picture text [SEP]``; returns the class token, unit length, float32."""

    def __init__(self, *, text: Mapping[str, Any], vision: Eva02Config, image_token_type: bool) -> None:
        super().__init__()
        model_type = text.get("model_type")
        if model_type not in TEXT_MODELS:
            raise ImproperlyConfigured(
                f"Visualized BGE is built on a text model of type {' or '.join(TEXT_MODELS)}, not {model_type!r}."
            )
        self.bge = Bert(BertConfig.read(TEXT_MODELS[model_type] | dict(text)))
        self.visual = Eva02(vision)
        self.visual_proj = nn.Linear(vision.width, self.bge.config.hidden_size)
        self.image_token_type = image_token_type
        # For a text alone, XLM-R counts positions from the padding id on.
        self.first_text_position = self.bge.config.pad_token_id + 1 if model_type == "xlm-roberta" else 0

    @classmethod
    def load(cls, state: Mapping[str, Tensor], *, dtype: torch.dtype, device: str, **shape: Any) -> Vista:
        """The model with these weights, under the authors' key names, ready to use.

        Raises ImproperlyConfigured if a tensor is missing, left over, or of another shape.
        """
        with weightless():
            model = cls(**shape)
        renamed = {_rename(key): value for key, value in state.items() if not model.ignores(key)}
        if not any(key.startswith("visual.") for key in renamed):
            raise ImproperlyConfigured(
                "they hold no vision tower: name the file of Visualized BGE's weights, not the text model's"
            )
        return install(model, renamed, dtype=dtype, device=device)

    def ignores(self, key: str) -> bool:
        unused = (*UNUSED, *(() if self.visual.config.final_norm else ("model_visual.visual.norm.",)))
        return key.startswith(unused) or key.endswith(COMPUTED)

    @property
    def text_limit(self) -> int:
        """The most tokens of a text alone, with both special ones."""
        return int(self.bge.config.max_position_embeddings) - self.first_text_position

    @property
    def text_limit_beside_picture(self) -> int:
        """The most tokens of a text with a picture, with both special ones."""
        return int(self.bge.config.max_position_embeddings) - self.visual.config.tokens

    def embed_texts(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Token ids with special ones, of mixed lengths; shape (n, dimension)."""
        padded, mask = self._pad(ids)
        return self._read(self.bge.embeddings.word_embeddings(padded), mask, self.first_text_position)

    def embed_pictures(self, pixels: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
        """Pixels of shape (n, 3, size, size), and for each the ids of its text, which may be empty."""
        return self.embed_seen(self.see(pixels), ids)

    def see(self, pixels: Tensor) -> Tensor:
        """The pictures as the text encoder reads them: shape (n, picture tokens, dimension)."""
        weight = self.visual_proj.weight
        pictures: Tensor = self.visual_proj(self.visual(pixels.to(device=weight.device, dtype=weight.dtype)))
        if not self.image_token_type:
            # The text model will add its token type to everything, but the authors' pictures have none.
            pictures = pictures - self.bge.embeddings.token_type_embeddings.weight[0]
        return pictures

    def embed_seen(self, pictures: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
        """Like ``embed_pictures``, from the output of ``see``."""
        padded, text_mask = self._pad(ids)
        words = self.bge.embeddings.word_embeddings(padded)
        joined = torch.cat([words[:, :1], pictures, words[:, 1:]], dim=1)
        mask = torch.cat([text_mask.new_ones(pictures.shape[:2]), text_mask], dim=1)
        return self._read(joined, mask, 0)

    def _pad(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        longest = max(map(len, ids))
        filler = self.bge.config.pad_token_id
        device = self.visual_proj.weight.device
        padded = torch.tensor([[*row, *[filler] * (longest - len(row))] for row in ids], device=device)
        mask = torch.tensor(
            [[True] * len(row) + [False] * (longest - len(row)) for row in ids], device=device
        )
        return padded, mask

    def _read(self, embeddings: Tensor, mask: Tensor, first_position: int) -> Tensor:
        positions = torch.arange(embeddings.shape[1], device=embeddings.device) + first_position
        features = self.bge(embeddings, positions, None if mask.all() else mask)
        return F.normalize(features[:, 0].float(), dim=-1)


def _rename(key: str) -> str:
    for prefix, ours in RENAMED.items():
        if key.startswith(prefix):
            return ours + key.removeprefix(prefix)
    return key
