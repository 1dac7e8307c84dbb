"""Visualized BGE (VISTA, Zhou et al., 2024): one model for text, pictures and both."""

from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE

__all__ = ["VisualizedBGE"]
