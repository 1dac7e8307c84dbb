"""MagicLens (Zhang et al., 2024): a picture and words that say what relates to it."""

from shopsearch.embedders.magiclens.embedder import MagicLens

__all__ = ["MagicLens"]
