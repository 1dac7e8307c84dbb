"""CLIP and SigLIP on transformers' own classes: turns tokens and pixels into features of one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from django.core.exceptions import ImproperlyConfigured
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from shopsearch.embedders.two_tower.folder import TowerFolder
from shopsearch.embedders.weights import install

MODELS: dict[str, tuple[Any, Any]] = {"clip": (CLIPConfig, CLIPModel), "siglip": (SiglipConfig, SiglipModel)}
HISTORIC_END = 2
"""A wrong closing id that CLIP's configurations had for years. It means: the largest id closes the text."""


class Towers(nn.Module):
    """A text tower and a vision tower. Features are float32, of shape (n, dimension), not of unit length."""

    def __init__(self, folder: TowerFolder) -> None:
        super().__init__()
        config_class, model_class = MODELS[folder.family]
        self.model = model_class(config_class.from_dict(dict(folder.config)))
        self.tokens = folder.tokens

    @classmethod
    def load(
        cls, state: Mapping[str, Tensor], folder: TowerFolder, *, dtype: torch.dtype, device: str
    ) -> Towers:
        """The model with these weights, under transformers' key names, ready to use.

        Raises ImproperlyConfigured if a tensor is missing, left over, or of another shape.
        """
        with torch.device("meta"):  # spends no memory or random numbers on weights that are replaced at once
            towers = cls(folder)
        # Older files contain the positions too, which are computed here.
        kept = {key: value for key, value in state.items() if not key.endswith(".position_ids")}
        install(towers.model, kept, dtype=dtype, device=device)
        return towers

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.logit_scale.device
        return device

    def check_closing_id(self, ids: Sequence[int]) -> None:
        """Raises ImproperlyConfigured if the model's closing id is not the last of ``ids``."""
        end = self.model.config.text_config.eos_token_id
        if self.model.config.model_type == "clip" and end not in (HISTORIC_END, ids[-1]):
            raise ImproperlyConfigured(
                f"the tokenizer closes a text with {ids[-1]} and config.json says {end}"
            )

    def text_features(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Features of texts, which are given as ids within the limit."""
        padded = torch.tensor(self._padded(rows), device=self.device)
        features: Tensor = self.model.get_text_features(input_ids=padded).pooler_output
        return features.float()

    def image_features(self, pixels: Tensor) -> Tensor:
        """Features of pictures, which are given as pixels of shape (n, 3, size, size)."""
        pixels = pixels.to(device=self.device, dtype=self.model.logit_scale.dtype)
        features: Tensor = self.model.get_image_features(pixel_values=pixels).pooler_output
        return features.float()

    def _padded(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        if self.tokens.filler is None:
            # CLIP pools at the first closing id and sees nothing after it, so padding with it changes nothing.
            longest = max(map(len, rows))
            return [[*row, *[row[-1]] * (longest - len(row))] for row in rows]
        # SigLIP pools at the last position and was trained with full rows, without a mask.
        filled = []
        for row in rows:
            filler = [self.tokens.filler] * (self.tokens.limit - len(row))
            filled.append([*filler, *row] if self.tokens.filler_first else [*row, *filler])
        return filled
