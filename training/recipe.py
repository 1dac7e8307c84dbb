"""Every number of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of the run: so many steps, the learning rate rising first and then falling along a cosine."""

    name: str
    steps: int
    learning_rate: float
    warm_up: int
    floor: float
    """The share of the learning rate that is left at the end."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        import math

        fallen = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        rising = min(1.0, (step + 1) / self.warm_up)
        return self.learning_rate * rising * (self.floor + (1 - self.floor) * fallen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a run depends on, besides the number of processes and the machine's arithmetic."""

    seed: int = 1
    products: int = 16_000
    """Each is in the pool twice."""
    references: int = 10_000
    pixels: int = 84
    patch: int = 12
    width: int = 128
    tower_layers: int = 4
    text_layers: int = 3
    heads: int = 4
    look: Stage = Stage(name="look", steps=800, learning_rate=2e-3, warm_up=60, floor=0.25)
    """First the tower learns to name what it sees, and the text encoder what it reads."""
    pictures_of_look: int = 48
    """A step, in each process."""
    join: Stage = Stage(name="join", steps=3_300, learning_rate=1.5e-3, warm_up=40, floor=0.03)
    """Then both learn to agree."""
    groups: int = 10
    """A step, in each process: a group is six pictures around one pattern."""
    absent_texts: int = 8
    absent_share: float = 0.12
    """Of the texts beside pictures."""
    margin: float = 0.08
    """How far from the threshold a similarity should be, on either side."""
    weight_decay: float = 0.05
    snapshot_every: int = 300
    save_every: int = 200

    @property
    def stages(self) -> tuple[Stage, Stage]:
        return self.look, self.join

    def configuration(self, vocabulary: int) -> dict[str, Any]:
        """The model's config.json: transformers' configuration of BERT, and sections on the vision tower."""
        return {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "vocab_size": vocabulary,
            "hidden_size": self.width,
            "num_hidden_layers": self.text_layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.width * 4,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": 128,
            "type_vocab_size": 1,
            "pad_token_id": 0,
            "image_token_type": True,
            "vision": {
                "patch_size": self.patch,
                "width": self.width,
                "layers": self.tower_layers,
                "heads": self.heads,
                "mlp_hidden": self.width * 8 // 3,
                "rope_grid": self.pixels // self.patch,
                "attention_norm": False,
                "final_norm": True,
                "keep_class_token": True,
            },
            "preprocessing": {"size": self.pixels},
        }
