"""Fits the starter's matrices to the features of openly licensed pictures: closed form, and two small regressions."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file
from tqdm import tqdm

from shopsearch.embedders.photos.colours import Numbers
from shopsearch.embedders.photos.learned import DETAIL_WEIGHT, FILE, packed, unit
from shopsearch.embedders.photos.network import read_network
from shopsearch.embedders.photos.patterns import NAMES as PATTERNS
from shopsearch.embedders.photos.wheels import default_cache
from training.photographs.kinds import KINDS

SIGHT = 384
SHRINK = 0.5
"""How far what differs between views is taken to be the same in all directions."""
RIDGE = 1.0
PENALTY = 3e-5
COMMON = 20
"""From how many pictures on a class counts less by the picture."""
FOLDS = 5

Table = Mapping[str, npt.NDArray[np.generic]]


def fold_of(photographer: int) -> int:
    """The fold that a photographer's pictures are held out in."""
    return int(hashlib.sha256(str(photographer).encode()).hexdigest(), 16) % FOLDS


def read(paths: Sequence[Path]) -> dict[str, npt.NDArray[np.generic]]:
    parts = [np.load(path) for path in paths]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0].files}


def only(table: Table, keep: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.generic]]:
    return {key: column[keep] for key, column in table.items()}


def discriminant(rows: Numbers, things: npt.NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """Linear discriminant analysis with the things as classes: projection and projected mean.

    A direction counts by how much things differ in it, against how much the views of one thing do.
    """
    mean = rows.mean(0)
    counts = np.bincount(things)
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, things, rows)
    means /= counts[:, None]
    inside = (rows - means[things])[counts[things] > 1]
    within = inside.T @ inside / len(inside)
    values, vectors = np.linalg.eigh(within + SHRINK * np.trace(within) / len(within) * np.eye(len(within)))
    whitened = vectors * values**-0.5
    between = (means - means.mean(0)) @ whitened
    _, directions = np.linalg.eigh(between.T @ between / len(between))
    projection = whitened @ directions[:, ::-1][:, :SIGHT]
    return projection.astype(np.float32), (mean @ projection).astype(np.float32)


def class_rows(sight: Numbers, features: Numbers, classifier: Numbers) -> Numbers:
    """(1000, 384): where in sight each class of the network's classifier lies, by ridge regression of its scores."""
    scores = unit(features) @ unit(classifier - classifier.mean(0)).T
    centred, scores = sight - sight.mean(0), scores - scores.mean(0)
    gram = centred.T @ centred + RIDGE * np.eye(sight.shape[1])
    return unit(np.linalg.solve(gram, centred.T @ scores).T)


def regression(rows: Numbers, classes: npt.NDArray[np.int64], number: int) -> Numbers:
    """(385, number): multinomial logistic regression; a rare class counts more by the picture."""
    counts = np.bincount(classes, minlength=number)
    rarity = np.minimum(1 / np.maximum(counts, 1), 1 / COMMON)[classes] ** 0.5
    weights, targets = torch.tensor(rarity / rarity.mean()).float(), torch.tensor(classes)
    inputs = torch.tensor(np.concatenate([rows, np.ones((len(rows), 1), np.float32)], 1))
    matrix = torch.zeros(inputs.shape[1], number, requires_grad=True)
    optimizer = torch.optim.LBFGS([matrix], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        errors = torch.nn.functional.cross_entropy(inputs @ matrix, targets, reduction="none")
        value = (errors * weights).mean() + PENALTY * (matrix[:-1] ** 2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return matrix.detach().numpy()


def fit(table: Table, classifier: Numbers) -> dict[str, Numbers]:
    """The tensors of ``Learned``."""
    real = only(table, table["source"] != "renders")
    prints = only(table, table["source"] == "renders")
    features, details = (real[key].astype(np.float32) for key in ("features", "details"))
    found: dict[str, Numbers] = {
        "features_mean": features.mean(0),
        "details_mean": details.mean(0),
        "details_deviation": details.std(0) + 0.1 * details.std(),
    }

    def stacked(part: Table) -> Numbers:
        plain = unit(part["features"].astype(np.float32) - found["features_mean"])
        scaled = (part["details"].astype(np.float32) - found["details_mean"]) / found["details_deviation"]
        return np.concatenate([plain, DETAIL_WEIGHT * unit(scaled)], 1)

    _, things = np.unique(real["thing"], return_inverse=True)
    found["projection"], found["projected_mean"] = discriminant(stacked(real), things)
    seen: Callable[[Table], Numbers] = lambda part: unit(  # noqa: E731
        stacked(part) @ found["projection"] - found["projected_mean"]
    )
    sight = seen(real)
    found["classes"] = class_rows(sight, features - found["features_mean"], classifier)
    kinds = list(KINDS)
    # A photograph of a kind that is not in the table says nothing; what is no photograph of clothes is something else.
    known = np.isin(real["label"], kinds) | (real["source"] != "photographs")
    targets = np.array([kinds.index(each) if each in KINDS else len(kinds) for each in real["label"][known]])
    found["kinds"] = regression(sight[known], targets, len(kinds) + 1)
    shown = np.array([PATTERNS.index(each) for each in prints["label"]])
    found["patterns"] = regression(seen(prints), shown, len(PATTERNS))
    for name in ("shades", "colours"):
        found[f"{name}_mean"] = real[name].astype(np.float32).mean(0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument(
        "--folds", type=Path, help="also write matrices that know nothing of a fold's photographers"
    )
    parser.add_argument("--cache", type=Path, default=default_cache())
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads that wait for a busy core cost more than they bring
    table = read(options.features)
    classifier = read_network(options.cache).classifier.weight.numpy()
    save_file(packed(fit(table, classifier)), FILE)
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes, from {len(table['thing']):,} pictures")
    if options.folds:
        options.folds.mkdir(parents=True, exist_ok=True)
        of = np.array([fold_of(each) if each >= 0 else -1 for each in table["photographer"].tolist()])
        for fold in tqdm(range(FOLDS)):
            save_file(
                packed(fit(only(table, of != fold), classifier)), options.folds / f"fold-{fold}.safetensors"
            )


if __name__ == "__main__":
    main()
