"""Embedders: turn words and pictures into vectors of one space."""

from shopsearch.embedders.base import Embedder

__all__ = ["Embedder"]
