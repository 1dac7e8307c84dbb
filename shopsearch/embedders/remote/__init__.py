"""Query vectors from a worker process that holds the model."""

from typing import TYPE_CHECKING

from shopsearch import modules_of

if TYPE_CHECKING:
    from shopsearch.embedders.remote.embedder import WorkerEmbedder

__all__ = ["WorkerEmbedder"]
__getattr__ = modules_of(__name__, WorkerEmbedder="embedder")
