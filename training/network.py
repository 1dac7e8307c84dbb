"""What is trained: the very model that is shipped, and parts that only training needs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from demo_project.rendering.palettes import COLOURS, PATTERNS
from shopsearch.embedders.visualized_bge.eva02 import Eva02Config
from shopsearch.embedders.visualized_bge.vista import Vista
from training.pool import CATEGORIES

ATTRIBUTES = (len(CATEGORIES), len(PATTERNS), len(COLOURS))
LARGEST_SCALE = 40.0


class Network(nn.Module):
    """The model, heads that name category, pattern and colour, and the similarity from which on things are sold."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        super().__init__()
        vision = Eva02Config(image_size=configuration["preprocessing"]["size"], **configuration["vision"])
        self.model = Vista(
            text=configuration,
            vision=vision,
            image_token_type=configuration["image_token_type"],
        )
        width = int(configuration["hidden_size"])
        self.vector_heads = nn.ModuleList(nn.Linear(width, count) for count in ATTRIBUTES)
        self.tower_heads = nn.ModuleList(nn.Linear(width, count) for count in ATTRIBUTES)
        self.logarithmic_scale = nn.Parameter(torch.tensor(math.log(14.3)))
        self.threshold = nn.Parameter(torch.tensor(0.5))
        self.width = width
        _initialise(self.model)

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by before a softmax."""
        return self.logarithmic_scale.exp().clamp(max=LARGEST_SCALE)

    def named_by_vector(self, vectors: Tensor) -> list[Tensor]:
        """Logits of category, pattern and colour, of unit vectors."""
        return [head(vectors * math.sqrt(self.width)) for head in self.vector_heads]

    def named_by_tower(self, pictures: Tensor) -> list[Tensor]:
        """The same, of the tokens that the tower gave."""
        return [head(pictures.mean(1)) for head in self.tower_heads]


def _initialise(model: Vista) -> None:
    """As BERT and EVA02 are: small weights, no biases, smaller still where a block of EVA02's adds to its input."""
    for module in model.bge.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    tower = model.visual
    for module in [*tower.blocks.modules(), model.visual_proj]:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(tower.cls_token, std=0.02)
    nn.init.trunc_normal_(tower.pos_embed, std=0.02)
    with torch.no_grad():
        for depth, block in enumerate(tower.blocks, start=1):
            block.attn.proj.weight /= math.sqrt(2 * depth)  # type: ignore[union-attr,operator]
            block.mlp.w3.weight /= math.sqrt(2 * depth)  # type: ignore[union-attr,operator]
