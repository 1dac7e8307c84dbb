"""A reranker that tells when it has begun, and waits until it may go on."""

from dataclasses import dataclass
from pathlib import Path

from shopsearch.rerankers import Reranker
from shopsearch.types import RerankerOutput
from tests.services.waiting import wait_until


@dataclass(kw_only=True, eq=False)
class GatedReranker(Reranker):
    gate: str

    @property
    def model(self):
        return "gated"

    def rerank(self, query, candidates):
        Path(f"{self.gate}.begun").touch()
        wait_until(Path(self.gate).exists, "the gate is open")
        return RerankerOutput(labels=[2, 1], reason="It was asked for.")
