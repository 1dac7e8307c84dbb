"""Make the vector store hold what the shop shows: changes, batches, rebuilds, reconciling."""

from typing import TYPE_CHECKING

from shopsearch import modules_of

if TYPE_CHECKING:
    from shopsearch.indexing import progress, rebuild, rule_pictures

__all__ = ["progress", "rebuild", "rule_pictures"]
__getattr__ = modules_of(__name__)
