"""Query vectors from a worker process that holds the model."""

from shopsearch.embedders.remote.embedder import WorkerEmbedder

__all__ = ["WorkerEmbedder"]
