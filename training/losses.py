"""What a step is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812, as everybody writes it
from torch import Tensor

from training.batches import ABSENT, ANY, Batch
from training.network import Network

WHOLLY_WRONG = -1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    loss: Tensor
    parts: dict[str, float]


def looked(
    network: Network, pixels: Tensor, ids: Sequence[Sequence[int]], batch: Batch, seen: Tensor
) -> Judged:
    """The first stage's: what is in the picture, what is in the text; ``seen`` are the pictures' attributes."""
    asked = torch.tensor(batch.alone.asked, device=seen.device)
    of_pictures = _named(network.named_by_tower(network.model.see(pixels)), seen)
    of_texts = _named(network.named_by_vector(network.model.embed_texts(ids)), asked)
    return Judged(loss=of_pictures + of_texts, parts={"tower": of_pictures.item(), "texts": of_texts.item()})


def joined(
    network: Network,
    pixels: Tensor,
    beside: Sequence[Sequence[int]],
    alone: Sequence[Sequence[int]],
    empty: Sequence[int],
    batch: Batch,
    *,
    seen: Tensor,
    designs: Tensor,
    naming: float,
    margin: float,
) -> Judged:
    """The second stage's: each query is nearest to the products that it asks for, or to none.

    ``naming`` weighs the naming of attributes against that.
    """
    model = network.model
    pictures = model.see(pixels)
    looks = model.embed_seen(pictures, [empty] * len(pictures))
    composed = model.embed_seen(pictures, beside)
    words = model.embed_texts(alone)
    composed_asked = torch.tensor(batch.beside.asked, device=seen.device)
    words_asked = torch.tensor(batch.alone.asked, device=seen.device)

    products = seen[:, 0] != ANY
    targets, offered = looks[products], seen[products]
    # A product's picture asks for that very product; a reference for its pattern.
    same = designs[:, None] == designs[products][None]
    pattern = seen[:, 1, None] == offered[None, :, 1]
    itself = torch.eye(len(seen), dtype=torch.bool, device=seen.device)[:, products]
    alike = torch.where(products[:, None], same, pattern) & ~itself

    image, image_right = contrast(network, looks, targets, alike, ignored=itself)
    beside_loss, beside_right = contrast(
        network, composed, targets, meets(composed_asked, offered), margin=margin
    )
    alone_loss, alone_right = contrast(network, words, targets, meets(words_asked, offered), margin=margin)
    named = (
        _named(network.named_by_vector(looks), seen)
        + _named(network.named_by_vector(composed), composed_asked)
        + 0.5 * _named(network.named_by_vector(words), words_asked)
        + _named(network.named_by_tower(pictures), seen)
    )
    loss = 0.5 * image + beside_loss + alone_loss + naming * named
    return Judged(
        loss=loss,
        parts={
            "image": image.item(),
            "composed": beside_loss.item(),
            "text": alone_loss.item(),
            "named": named.item(),
            "image right": image_right,
            "composed right": beside_right,
            "text right": alone_right,
        },
    )


def meets(asked: Tensor, offered: Tensor) -> Tensor:
    """Which of the offered (m, 3) have all that is asked for (n, 3): shape (n, m)."""
    return ((asked[:, None] == ANY) | (asked[:, None] == offered[None])).all(-1)


def contrast(
    network: Network,
    queries: Tensor,
    targets: Tensor,
    right: Tensor,
    *,
    ignored: Tensor | None = None,
    margin: float | None = None,
) -> tuple[Tensor, float]:
    """Symmetric InfoNCE where several targets may be right; also, how many queries have a right one first.

    With a margin, queries also choose between the targets and nothing, which is as near as the network's threshold:
    what is right should be nearer than that by the margin, and all targets of a query for nothing farther.
    """
    logits = queries @ targets.T * network.scale
    if ignored is not None:
        logits = logits.masked_fill(ignored, WHOLLY_WRONG)
    answered = right.any(1)
    first = right.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)
    accuracy = (first.sum() / answered.sum().clamp(min=1)).item()
    backward = _likelihood(logits.T, right.T)
    if margin is not None:
        shift = torch.where(answered, margin, -margin)
        nothing = ((network.threshold + shift) * network.scale)[:, None]
        logits = torch.cat([logits, nothing], dim=1)
        right = torch.cat([right, ~answered[:, None]], dim=1)
    return -_likelihood(logits, right) - backward, accuracy


def _likelihood(logits: Tensor, right: Tensor) -> Tensor:
    """The mean logarithmic probability of what is right, over the rows that have any."""
    weights = right.to(logits.dtype)
    counts = weights.sum(1)
    of_rows = (F.log_softmax(logits, dim=1) * weights).sum(1) / counts.clamp(min=1)
    return of_rows.sum() / (counts > 0).sum().clamp(min=1)


def _named(logits: Sequence[Tensor], asked: Tensor) -> Tensor:
    """The mean cross entropy of the three attributes, of those that are there."""
    known = asked.masked_fill(asked == ABSENT, ANY)
    total = torch.zeros((), device=asked.device)
    for column, each in enumerate(logits):
        if bool((known[:, column] != ANY).any()):
            total = total + F.cross_entropy(each, known[:, column], ignore_index=ANY)
    return total / len(logits)
