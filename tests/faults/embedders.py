"""An embedder that a test can hold in the middle of a batch."""

import time
from dataclasses import dataclass
from pathlib import Path

from shopsearch.testing import ColourEmbedder


@dataclass(kw_only=True, eq=False)
class GatedColourEmbedder(ColourEmbedder):
    """Embeds pictures only while the file ``gate`` is not there; ``gate.reached`` says that one waits."""

    gate: str = ""

    def embed(self, queries):
        gate = Path(self.gate)
        if any(query.image for query in queries) and gate.exists():
            gate.with_suffix(".reached").touch()
            while gate.exists():
                time.sleep(0.01)
        return super().embed(queries)
