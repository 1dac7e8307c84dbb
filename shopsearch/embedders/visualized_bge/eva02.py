"""The EVA02 vision tower, under its authors' key names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812, as everybody writes it
from torch import Tensor, nn

EPSILON = 1e-6
ROPE_BASE = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Eva02Config:
    """The shape of a tower. The last options have the authors' values unless a model's config.json differs."""

    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_hidden: int
    image_size: int = 224
    rope_grid: int = 16
    """Patch positions are scaled to a grid with this edge before the rotation."""
    attention_norm: bool = True
    """Whether to normalise the heads' joined output before its projection."""
    final_norm: bool = False
    """Whether to normalise the tokens after the last block."""
    keep_class_token: bool = False
    """Whether to return the class token too, before the patches."""

    @property
    def grid(self) -> int:
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """How many tokens a picture becomes."""
        return self.grid**2 + self.keep_class_token


class Eva02(nn.Module):
    """A pre-norm transformer over patches, with learned and rotary positions.

    Pixels of shape (n, 3, image_size, image_size) become tokens of shape (n, config.tokens, width).
    """

    def __init__(self, config: Eva02Config) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbedding(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2 + 1, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=EPSILON) if config.final_norm else nn.Identity()
        cosines, sines = rotations(config)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embed(pixels)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens, self.cosines, self.sines)
        normed: Tensor = self.norm(tokens)
        return normed if self.config.keep_class_token else normed[:, 1:]


class PatchEmbedding(nn.Module):
    def __init__(self, config: Eva02Config) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, kernel_size=config.patch_size, stride=config.patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        patches: Tensor = self.proj(pixels)
        return patches.flatten(2).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, config: Eva02Config) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=EPSILON)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=EPSILON)
        self.mlp = SwiGLU(config)

    def forward(self, tokens: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens), cosines, sines)
        changed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return changed


class Attention(nn.Module):
    """Queries and values have a bias, keys have none; every token but the first is rotated by its position."""

    def __init__(self, config: Eva02Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, config.width, bias=False)
        self.v_proj = nn.Linear(config.width, config.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.width))
        self.v_bias = nn.Parameter(torch.zeros(config.width))
        self.inner_attn_ln = (
            nn.LayerNorm(config.width, eps=EPSILON) if config.attention_norm else nn.Identity()
        )
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, tokens: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        query = self.split(F.linear(tokens, self.q_proj.weight, self.q_bias))
        key = self.split(self.k_proj(tokens))
        value = self.split(F.linear(tokens, self.v_proj.weight, self.v_bias))
        query, key = rotate(query, cosines, sines), rotate(key, cosines, sines)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        projected: Tensor = self.proj(self.inner_attn_ln(mixed))
        return projected

    def split(self, tokens: Tensor) -> Tensor:
        """(n, tokens, width) to (n, heads, tokens, width / heads)."""
        return tokens.reshape(*tokens.shape[:-1], self.heads, -1).transpose(1, 2)


class SwiGLU(nn.Module):
    def __init__(self, config: Eva02Config) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.width, config.mlp_hidden)
        self.w2 = nn.Linear(config.width, config.mlp_hidden)
        self.ffn_ln = nn.LayerNorm(config.mlp_hidden, eps=EPSILON)
        self.w3 = nn.Linear(config.mlp_hidden, config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        projected: Tensor = self.w3(self.ffn_ln(F.silu(self.w1(tokens)) * self.w2(tokens)))
        return projected


def rotations(config: Eva02Config) -> tuple[Tensor, Tensor]:
    """The cosines and sines that rotate each patch's queries and keys: (patches, width / heads) each.

    The first half of a head is rotated by the row, the second half by the column.
    """
    # On a named device: the model is made under torch.device("meta"), but these tables are needed at once.
    half = config.width // config.heads // 2
    frequencies = ROPE_BASE ** -(torch.arange(0, half, 2, device="cpu").float() / half)
    places = torch.arange(config.grid, device="cpu") / config.grid * config.rope_grid
    angles = torch.outer(places, frequencies).repeat_interleave(2, dim=-1)
    rows = angles[:, None].expand(config.grid, config.grid, half)
    columns = angles[None].expand(config.grid, config.grid, half)
    table = torch.cat([rows, columns], dim=-1).flatten(0, 1)
    return table.cos(), table.sin()


def rotate(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate every token but the first: each pair of neighbouring numbers is a point in a plane."""
    patches = heads[:, :, 1:]
    even, odd = patches[..., ::2], patches[..., 1::2]
    turned = patches * cosines + torch.stack((-odd, even), dim=-1).flatten(-2) * sines
    return torch.cat([heads[:, :, :1], turned.to(heads.dtype)], dim=2)
