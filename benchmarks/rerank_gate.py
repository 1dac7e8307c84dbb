"""The table of RERANK_GATE in docs/how-to-rerank.md: `python -m benchmarks.rerank_gate [--queries 150]`.

How many reranks each gate skips and how much gain it keeps, for the judged queries of benchmarks.search_quality's demo.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import search_quality

LEFT_OUT = (0.1, 0.3, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=150, help="of each kind")
    options = parser.parse_args()
    folder = search_quality.ROOT / ".var" / "quality-gate"
    folder.mkdir(parents=True, exist_ok=True)
    search_quality.set_up(folder)
    search_quality.stock()
    gaps, first_is_right, gains = measure(search_quality.write_queries(folder, options.queries))
    print(f"{len(gains):,} queries; reranking all of them gains {gains.mean():.4f} nDCG@9\n")
    print("| `RERANK_GATE` | reranks left out | of which the first result was right | gain that is kept |")
    print("|---|---|---|---|")
    for share in LEFT_OUT:
        gate = round(float(np.quantile(gaps, 1 - share)), 2)
        out = gaps >= gate
        kept = gains[~out].sum() / gains.sum()
        print(f"| {gate:.2f} | {out.mean():.0%} | {first_is_right[out].mean():.1%} | {kept:.0%} |")


def measure(path: Any) -> tuple[Any, Any, Any]:
    """Of each query: how far the first score is above the last candidate's, R@1, and what the rerank gains."""
    from tqdm import tqdm

    from shopsearch.backends import get_reranker
    from shopsearch.evaluation.measures import MEASURES
    from shopsearch.evaluation.query_files import QueryFile
    from shopsearch.evaluation.run import Evaluation
    from shopsearch.evaluation.searchers import LiveSearch, Reranked
    from shopsearch.models import ProductImage
    from shopsearch.registry import index_for
    from shopsearch.types import Query

    candidates = get_reranker().most_candidates  # type: ignore[union-attr]

    @dataclass(kw_only=True)
    class Watched(LiveSearch):
        gaps: list[float] = field(default_factory=list)

        def find(self, query: Query) -> Sequence[str] | None:
            leading = self.results(query).results[:candidates]
            self.gaps.append(leading[0].score - leading[-1].score)
            return super().find(query)

    live = Watched(index=index_for(ProductImage))
    evaluation = Evaluation(searchers=[live, Reranked(live=live)])
    queries = QueryFile(path=path)
    values = np.array(
        [[each.values for each in answers] for answers in tqdm(evaluation.run(queries), total=len(queries))]
    )
    right, gain = MEASURES.index("R@1"), MEASURES.index("nDCG@9")
    return np.array(live.gaps), values[:, 0, right], values[:, 1, gain] - values[:, 0, gain]


if __name__ == "__main__":
    main()
