"""How well an order of products answers a query: five measures, each computed as trec_eval does."""

from __future__ import annotations

from collections.abc import Sequence

from shopsearch.evaluation.query_files import JudgedQuery

MEASURES = ("R@1", "R@5", "R@10", "MRR", "nDCG@9")
"""R@k: whether one of the first k is relevant (trec_eval's success_k; image retrieval calls it recall). MRR: one over
the rank of the first relevant product (recip_rank). nDCG@9: the grades, discounted by rank, as a share of the best
possible order's (ndcg_cut_9). All from 0 to 1."""
DEPTH = 100
"""Products count down to this rank, or SHOPSEARCH["MAX_RESULTS"] where that is less; below it MRR is 0."""

Values = tuple[float, ...]
"""One number per measure."""


def measured(orders: Sequence[tuple[JudgedQuery, Sequence[str]]]) -> list[Values]:
    """The values of each order of products, best first, for its query. Every query needs its own id."""
    import ir_measures
    from ir_measures import RR, Success, nDCG

    wanted = (Success @ 1, Success @ 5, Success @ 10, RR, nDCG @ 9)
    grades = {query.id: dict(query.relevant) for query, _ in orders}
    run = {query.id: scores_of(products) for query, products in orders if products}
    found: dict[str, dict[object, float]] = {}
    for metric in ir_measures.iter_calc(wanted, grades, run):
        found.setdefault(metric.query_id, {})[metric.measure] = metric.value
    return [tuple(found.get(query.id, {}).get(each, 0.0) for each in wanted) for query, _ in orders]


def scores_of(products: Sequence[str]) -> dict[str, float]:
    """A score for each product that falls with its rank: trec_eval sorts by score, and reads no ranks."""
    return {product: 1 / rank for rank, product in enumerate(products, start=1)}


def run_lines(query: JudgedQuery, products: Sequence[str], name: str) -> str:
    """The order as lines of a TREC run file. Raises ValueError for an id that such a file cannot hold."""
    for product in products:
        if product.split() != [product]:
            raise ValueError(f"The product id {product!r} has spaces; a run file cannot hold it.")
    return "".join(
        f"{query.id} Q0 {product} {rank} {score:.8f} {name}\n"
        for rank, (product, score) in enumerate(scores_of(products).items(), start=1)
    )


def named(name: str) -> str:
    """The measure as MEASURES spells it; upper or lower case does not matter. Raises ValueError for other names."""
    for measure in MEASURES:
        if measure.lower() == name.strip().lower():
            return measure
    raise ValueError(f"There is no measure {name!r}; use one of: {', '.join(MEASURES)}.")
