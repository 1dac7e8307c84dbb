"""The encoder of BERT and of XLM-R, which are one, under transformers' key names: from tokens to features.

Our own, since importing transformers' takes seconds of a processor in every process that embeds; a test compares both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch.nn.functional as F  # noqa: N812, as everybody writes it
from django.core.exceptions import ImproperlyConfigured
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class BertConfig:
    """The shape of an encoder, in the words and with the defaults of transformers' configuration."""

    vocab_size: int = 30_522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3_072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    hidden_act: str = "gelu"

    def __post_init__(self) -> None:
        if self.hidden_act != "gelu":
            raise ImproperlyConfigured(f'its hidden_act is {self.hidden_act!r}; only "gelu" can be read')

    @classmethod
    def read(cls, configuration: Mapping[str, Any]) -> BertConfig:
        """From a model's config.json, which says more than the shape."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in configuration.items() if name in names})


class Bert(nn.Module):
    """Embedded tokens of shape (n, tokens, width) become features of the same shape.

    ``positions`` has the tokens' places, ``mask`` is True for the tokens of each row that count; None where all do.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList(map(Layer, [config] * config.num_hidden_layers))}
        )

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        features: Tensor = self.embeddings(tokens, positions)
        if mask is not None:
            mask = mask[:, None, None]
        for layer in self.encoder["layer"].children():
            features = layer(features, mask)
        return features


class Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        first_type = self.token_type_embeddings.weight[0]
        read: Tensor = self.LayerNorm(tokens + first_type + self.position_embeddings(positions))
        return read


class Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.heads = config.num_attention_heads
        parts = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(parts), "output": Added(width, config)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = Added(inner, config)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (
            part(features).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.attention["self"].values()  # type: ignore[operator]
        )
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        features = self.attention["output"](attended.transpose(1, 2).flatten(2), features)
        result: Tensor = self.output(F.gelu(self.intermediate["dense"](features)), features)
        return result


class Added(nn.Module):
    """Projects, adds what went in before, and normalises the sum."""

    def __init__(self, width: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, found: Tensor, before: Tensor) -> Tensor:
        total: Tensor = self.LayerNorm(self.dense(found) + before)
        return total
