"""MagicLens (Zhang et al., 2024): a picture and words that say which related picture is wanted."""

from shopsearch.embedders.magiclens.embedder import MagicLens

__all__ = ["MagicLens"]
