"""The starter: an embedder for photographs whose models come from PyPI's wheels, and from nowhere else."""

from typing import TYPE_CHECKING

from shopsearch import modules_of

if TYPE_CHECKING:
    from shopsearch.embedders.photos import colours
    from shopsearch.embedders.photos.embedder import PhotoStarter

__all__ = ["PhotoStarter", "colours"]
__getattr__ = modules_of(__name__, PhotoStarter="embedder")
