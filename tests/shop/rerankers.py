"""A reranker whose order nobody takes for retrieval's."""

from shopsearch.exceptions import RerankerError
from shopsearch.rerankers import Reranker
from shopsearch.types import RerankerOutput


class LastFirst(Reranker):
    """The worst candidate is the best, and so on; ``is_broken`` makes it fail."""

    model = "last-first"
    is_broken = False

    def rerank(self, query, candidates):
        if self.is_broken:
            raise RerankerError("The model is out of order.")
        return RerankerOutput(
            scores=list(range(len(candidates))),
            caption="Looks like: a square",
            reason="it has waited longest.",
            raw="the last shall be first",
        )
