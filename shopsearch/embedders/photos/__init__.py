"""The starter: an embedder for photographs whose models come from PyPI's wheels, and from nowhere else."""

from shopsearch.embedders.photos.embedder import PhotoStarter

__all__ = ["PhotoStarter"]
