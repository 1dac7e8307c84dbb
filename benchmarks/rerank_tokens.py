"""Row 13: how many steps and picture tokens a rerank of nine costs: `python -m benchmarks.rerank_tokens`.

Counted, not timed, with a tiny native vision-language model whose processor makes tokens as its large siblings do.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.results import Row, quiet_torch, report

NINE = 9


def measure(quick: bool) -> list[Row]:
    import django
    from django.conf import settings

    settings.configure()
    django.setup()
    from PIL import Image

    from shopsearch.rerankers.listwise import ListwiseReranker
    from shopsearch.types import Candidate, Query
    from tests.rerankers import tiny_models

    with tempfile.TemporaryDirectory() as folder:
        reranker = ListwiseReranker(
            checkpoint=str(tiny_models.make("gemma3", Path(folder) / "model")),
            caption=False,
            reason=False,
            two_orders=False,
        )
        pictures = [Image.new("RGB", (300, 300), (20 * number, 90, 120)) for number in range(NINE)]
        candidates = [
            Candidate(product_id=str(number), text=f"thing {number}", image=picture, score=0.0)
            for number, picture in enumerate(pictures)
        ]
        model = reranker._loaded
        counts = _Counts(model)
        order = reranker.rerank(Query(text="a red one"), candidates).scores
        collage = counts.taken()
        for picture in pictures:
            model.choose([_alone(picture)], ["1", "2"])
        alone = counts.taken()
    times = alone["picture tokens"] / collage["picture tokens"]
    return [
        Row(
            number="13",
            what="rerank of nine by a native vision-language model",
            target="one decoding step, ≥ 9 times fewer picture tokens than nine pictures",
            measured=f"{collage['steps']} step, {times:.0f} times fewer: {collage['picture tokens']} and "
            f"{alone['picture tokens']} picture tokens",
            reached=collage["steps"] == 1 and times >= NINE and len(order) == NINE,
            why="A family that cuts one picture into tiles by its size makes more tokens of a collage.",
            figures={"collage": collage, "nine pictures": alone},
            unit="picture tokens",
            samples={
                "one collage": [float(collage["picture tokens"])],
                "nine pictures": [float(alone["picture tokens"])],
            },
        )
    ]


def _alone(picture: Any) -> Any:
    from shopsearch.rerankers.prompts import Prompt

    return Prompt(parts=(picture, "How well does this fit? 1 or 2."), answer="")


class _Counts:
    """Forward passes of the model, and tokens that stand for pictures."""

    def __init__(self, model: Any) -> None:
        self.steps = self.tokens = 0
        token = model.model.config.image_token_id
        forward = model.model.forward

        def counted(*arguments: Any, **options: Any) -> Any:
            self.steps += 1
            self.tokens += int((options["input_ids"] == token).sum())
            return forward(*arguments, **options)

        model.model.forward = counted

    def taken(self) -> dict[str, int]:
        found = {"steps": self.steps, "picture tokens": self.tokens}
        self.steps = self.tokens = 0
        return found


if __name__ == "__main__":
    quiet_torch()
    report(measure)
