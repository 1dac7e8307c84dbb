"""CLIP and SigLIP: models with one tower for text and one for pictures."""

from shopsearch.embedders.two_tower.embedder import TwoTower

__all__ = ["TwoTower"]
