"""Working stand-ins for a shop's own tests: an embedder that really sees colour, and an exact store in memory.

``SearchTestCase`` and ``stand_ins()`` set them up. Tests then need neither model nor server, and still "red" finds the
red shoe: ``assert_finds("red", red_shoe)``.
"""

from shopsearch.testing.cases import SETTINGS, SearchTestCase, assert_finds, index_saved, picture, stand_ins
from shopsearch.testing.embedders import COLOURS, ColourEmbedder
from shopsearch.testing.vector_stores import MemoryStore

__all__ = [
    "COLOURS",
    "SETTINGS",
    "ColourEmbedder",
    "MemoryStore",
    "SearchTestCase",
    "assert_finds",
    "index_saved",
    "picture",
    "stand_ins",
]
