"""One process of a run: it takes steps, and with the others averages what each has learnt from its own batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as together
from tokenizers import Tokenizer
from torch import Tensor, nn

from training import losses
from training.augmentation import augmented
from training.batches import ANY, Batch, Batches
from training.muon import Muon
from training.network import Network
from training.pool import Pool
from training.recipe import Recipe, Stage

MAX_TOKENS = 32
"""In tokens."""
MAX_GRADIENT_NORM = 1.0
"""Gradients are no longer than this."""


@dataclass(kw_only=True)
class Learner:
    recipe: Recipe
    pool: Pool
    tokenizer: Tokenizer
    process: int = 0
    processes: int = 1
    device: str = "cpu"
    stage: int = 0
    step: int = 0
    """How many steps of the stage are done."""
    curve: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(self.recipe.seed)
        self.configuration = self.recipe.configuration(self.tokenizer.get_vocab_size())
        self.network = Network(self.configuration).to(self.device)
        self.batches = Batches(self.pool.drawings, seed=self.recipe.seed)
        self._prepare()

    def learn(self) -> Iterator[dict[str, float]]:
        """Each step's losses, until both stages are done."""
        while self.stage < len(self.recipe.stages):
            stage = self.recipe.stages[self.stage]
            while self.step < stage.steps:
                yield self._take(stage)
            self.stage, self.step = self.stage + 1, 0
            self._prepare()

    @property
    def done(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.recipe.stages[: self.stage]) + self.step

    def save(self, file: Path) -> None:
        """Atomically: a run that is killed meanwhile has the file of before."""
        state = {
            "network": self.network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "stage": self.stage,
            "step": self.step,
            "curve": self.curve,
        }
        new = file.with_suffix(".new")
        torch.save(state, new)
        new.replace(file)

    def resume(self, file: Path) -> None:
        state = torch.load(file, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.stage, self.step, self.curve = state["stage"], state["step"], state["curve"]
        self._prepare()
        for optimiser, its_state in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(its_state)

    def _prepare(self) -> None:
        """Fresh optimisers, as every stage begins with."""
        decay = self.recipe.weight_decay
        matrices: list[nn.Parameter] = []
        wide: list[nn.Parameter] = []
        narrow: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            inner = ".blocks." in name or ".encoder." in name
            chosen = narrow if parameter.ndim <= 1 else matrices if inner and parameter.ndim == 2 else wide
            chosen.append(parameter)
        groups = [{"params": wide, "weight_decay": decay}, {"params": narrow, "weight_decay": 0.0}]
        self.parameters: list[nn.Parameter] = [*matrices, *wide, *narrow]
        self.optimisers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=0.0, weight_decay=decay),
            torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98)),
        ]

    def _take(self, stage: Stage) -> dict[str, float]:
        rate = stage.rate(self.step)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        self.network.train()
        judged = self._look() if stage is self.recipe.look else self._join(stage)
        # A stage leaves some heads alone: they keep no gradient, and no step of an optimiser moves them.
        self.network.zero_grad(set_to_none=True)
        judged.loss.backward()  # type: ignore[no-untyped-call]
        learning = [parameter for parameter in self.parameters if parameter.grad is not None]
        if self.processes > 1:
            self._average(learning)
        nn.utils.clip_grad_norm_(learning, MAX_GRADIENT_NORM)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        return judged.parts

    def _look(self) -> losses.Judged:
        recipe = self.recipe
        batch = self.batches.to_look_at(self.step, self.process, count=recipe.pictures_of_look)
        pixels, seen = self._pixels(batch)
        return losses.looked(self.network, pixels, self._ids(batch.alone.words), batch, seen)

    def _join(self, stage: Stage) -> losses.Judged:
        recipe = self.recipe
        batch = self.batches.to_join(
            self.step,
            self.process,
            groups=recipe.groups,
            absent_share=recipe.absent_share,
            absent_texts=recipe.absent_texts,
        )
        pixels, seen = self._pixels(batch)
        [empty] = self._ids([""])
        return losses.joined(
            self.network,
            pixels,
            self._ids(batch.beside.words),
            self._ids(batch.alone.words),
            empty,
            batch,
            seen=seen,
            designs=torch.from_numpy(self.batches.designs[batch.places]).to(self.device),
            # Names are a help at first; the vectors need not be good at them in the end.
            naming=max(0.15, 1 - 1.6 * self.step / stage.steps),
            margin=recipe.margin,
        )

    def _pixels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The pictures as the tower reads them, and their attributes."""
        attributes = self.batches.attributes[batch.places]
        dice = np.random.default_rng([self.recipe.seed, self.stage, self.step, self.process])
        pixels = augmented(
            self.pool.pictures[batch.places],
            attributes[:, 0] != ANY,
            pixels=self.recipe.pixels,
            dice=dice,
        )
        return pixels.to(self.device), torch.from_numpy(attributes).to(self.device)

    def _ids(self, words: list[str]) -> list[list[int]]:
        return [encoded.ids[:MAX_TOKENS] for encoded in self.tokenizer.encode_batch(words)]

    def _average(self, learning: list[nn.Parameter]) -> None:
        gradients = [parameter.grad for parameter in learning if parameter.grad is not None]
        joined = torch.cat([gradient.reshape(-1) for gradient in gradients])
        together.all_reduce(joined)
        joined /= self.processes
        parts = torch.split(joined, [each.numel() for each in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
