"""Train the bundled model from nothing.

    python -m training.train --folder .var/training

Draws the pictures first, unless the folder has them; goes on from the last checkpoint, if there is one. The folder
then has model/, which VisualizedBGE reads, curve.json with the losses, and a snapshot of the weights every so often,
for training.evaluate to draw a learning curve from.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
import torch.distributed as together
from tokenizers import Tokenizer
from torch.multiprocessing.spawn import spawn
from tqdm import tqdm

from shopsearch.embedders.model_folder import BUNDLED
from training import model_files
from training.learner import Learner
from training.pool import Pool, drawn, plan
from training.recipe import Recipe

NOTED_EVERY = 25
"""Steps whose losses are averaged for the curve."""


def train(recipe: Recipe, folder: Path, *, processes: int = 2, device: str = "cpu") -> None:
    """Train in so many processes, each with a thread and a batch of its own; on a GPU, one is enough."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = plan(products=recipe.products, references=recipe.references, seed=recipe.seed)
    pool = drawn(pictures, folder, processes=processes)
    words = folder / "tokenizer.json"
    if not words.is_file():
        # The bundled model's: a new one would differ each time, see training.vocabulary.
        words.write_bytes((BUNDLED / "tokenizer.json").read_bytes())
    with tempfile.TemporaryDirectory() as meeting:
        arguments = (processes, recipe, pool, words, device, f"file://{meeting}/place")
        if processes == 1:
            _work(0, *arguments)
        else:
            spawn(_work, arguments, nprocs=processes)  # type: ignore[no-untyped-call]


def _work(
    process: int, processes: int, recipe: Recipe, pool: Pool, words: Path, device: str, meeting: str
) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    if processes > 1:
        together.init_process_group("gloo", init_method=meeting, rank=process, world_size=processes)
    learner = Learner(
        recipe=recipe,
        pool=pool,
        tokenizer=Tokenizer.from_file(str(words)),
        process=process,
        processes=processes,
        device=device,
    )
    checkpoint = words.parent / "checkpoint.pt"
    if checkpoint.is_file():
        learner.resume(checkpoint)
    if processes > 1:
        together.barrier()
    if process == 0:
        _lead(learner, words.parent)
    else:
        for _ in learner.learn():
            pass
    if processes > 1:
        together.destroy_process_group()


def _lead(learner: Learner, folder: Path) -> None:
    """Learn, show how it goes, and write everything down."""
    recipe = learner.recipe
    total = sum(stage.steps for stage in recipe.stages)
    sums: dict[str, float] = defaultdict(float)
    model_files.describe(learner.configuration, learner.tokenizer, folder / "model")
    count, began = 0, time.monotonic()
    spent = learner.curve[-1]["seconds"] if learner.curve else 0.0
    with tqdm(total=total, initial=learner.done, unit="step", mininterval=5, smoothing=0.02) as bar:
        for parts in learner.learn():
            bar.update()
            count += 1
            for name, value in parts.items():
                sums[name] += value
            done = learner.done
            if done % NOTED_EVERY == 0 or done == total:
                means = {name: round(value / count, 4) for name, value in sums.items()}
                seconds = round(spent + time.monotonic() - began, 1)
                learner.curve.append({"step": done, "seconds": seconds, **means})
                bar.set_postfix(means)
                sums.clear()
                count = 0
            if done % recipe.snapshot_every == 0 or done == total:
                model_files.write(learner.network, snapshots(folder) / f"{done:06d}.safetensors")
            if done % recipe.save_every == 0 or done == total:
                learner.save(folder / "checkpoint.pt")
    (folder / "curve.json").write_text(json.dumps(learner.curve))
    model_files.write(learner.network, folder / "model" / "model.safetensors")


def snapshots(folder: Path) -> Path:
    """Where the weights of every so many steps are, by the number of the step."""
    return folder / "snapshots"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(".var/training"))
    parser.add_argument("--processes", type=int, default=0, help="2, or 1 on a GPU, unless given")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    processes = options.processes or (2 if options.device == "cpu" else 1)
    train(Recipe(), options.folder, processes=processes, device=options.device)


if __name__ == "__main__":
    main()
