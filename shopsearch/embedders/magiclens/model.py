"""MagicLens: a CLIP and a small transformer that fuses its two features, ported to torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812, as everybody writes it
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from shopsearch.embedders.two_tower.folder import TowerFolder
from shopsearch.embedders.weights import install

EPSILON = 1e-6
LOGIT_CAP = 50.0
SOFTPLUS_OF_ZERO = 1.442695041
"""1 / softplus(0), as its authors round it."""


class MagicLensModel(nn.Module):
    """Reads a picture and a text, which may be empty. Vectors are float32, not of unit length."""

    def __init__(self, folder: TowerFolder) -> None:
        super().__init__()
        config, self.tokens = folder.config, folder.tokens
        width, heads = config["projection_dim"], config["heads"]
        clip = {key: config[key] for key in ("projection_dim", "text_config", "vision_config")}
        self.clip = CLIPModel(CLIPConfig(**clip))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(config["layers"]))
        self.pool_query = nn.Parameter(torch.zeros(1, width))
        self.pool = Attention(width, heads, 4 * width, scaled_by_dimension=True)
        self.pool_norm = LayerNorm(width)

    @classmethod
    def load(
        cls, state: Mapping[str, Tensor], folder: TowerFolder, *, dtype: torch.dtype, device: str
    ) -> MagicLensModel:
        """The model with these weights, ready to use.

        Raises ImproperlyConfigured if a tensor is missing, left over, or of another shape.
        """
        with torch.device("meta"):  # spends no memory or random numbers on weights that are replaced at once
            model = cls(folder)
        return install(model, state, dtype=dtype, device=device)

    def text_features(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """CLIP's features of texts, which are given as ids within the limit: shape (n, dimension), float32."""
        longest = max(map(len, rows))
        padded = torch.tensor(
            [[*row, *[0] * (longest - len(row))] for row in rows], device=self.pool_query.device
        )
        # The authors pad with 0 and mask every 0, which masks "!" too, because its id is 0.
        mask = (padded != 0).long()
        features: Tensor = self.clip.get_text_features(input_ids=padded, attention_mask=mask).pooler_output
        return features.float()

    def image_features(self, pixels: Tensor) -> Tensor:
        """CLIP's features of pixels of shape (n, 3, size, size): shape (n, dimension), float32."""
        pixels = pixels.to(device=self.pool_query.device, dtype=self.pool_query.dtype)
        features: Tensor = self.clip.get_image_features(pixel_values=pixels).pooler_output
        return features.float()

    def forward(self, words: Tensor, pictures: Tensor) -> Tensor:
        """The pairs' vectors, from their features of shape (n, dimension)."""
        weight = self.pool_query
        tokens = torch.stack([pictures, words], dim=1).to(device=weight.device, dtype=weight.dtype)
        for layer in self.layers:
            tokens = layer(tokens)
        pooled: Tensor = self.pool_norm(self.pool(weight.expand(len(tokens), 1, -1), tokens))
        return pooled[:, 0].float()


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width)
        self.attention = Attention(width, heads, width)
        self.norm2 = LayerNorm(width)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed, normed)
        changed: Tensor = tokens + self.linear2(F.relu(self.linear1(self.norm2(tokens))))
        return changed


class Attention(nn.Module):
    """Attention with soft-capped logits."""

    def __init__(self, width: int, heads: int, hidden: int, *, scaled_by_dimension: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, hidden)
        self.key = nn.Linear(width, hidden)
        self.value = nn.Linear(width, hidden)
        self.post = nn.Linear(hidden, width)
        self.per_dim_scale = nn.Parameter(torch.zeros(hidden // heads)) if scaled_by_dimension else None

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        query, key, value = self.query(asking), self.key(asked), self.value(asked)
        query, key, value = (self.split(each) for each in (query, key, value))
        scale: Tensor | float = 1 / math.sqrt(query.shape[-1])
        if self.per_dim_scale is not None:
            scale = scale * SOFTPLUS_OF_ZERO * F.softplus(self.per_dim_scale)
        logits = LOGIT_CAP * torch.tanh((query * scale) @ key.transpose(-1, -2) / LOGIT_CAP)
        mixed: Tensor = self.post((logits.softmax(-1) @ value).transpose(1, 2).flatten(2))
        return mixed

    def split(self, tokens: Tensor) -> Tensor:
        """(n, tokens, hidden) to (n, heads, tokens, hidden / heads)."""
        return tokens.reshape(*tokens.shape[:-1], self.heads, -1).transpose(1, 2)


class LayerNorm(nn.Module):
    """A layer norm whose scale is stored minus one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.layer_norm(tokens, tokens.shape[-1:], 1 + self.scale, self.bias, EPSILON)
