"""BGE-VL (MMRet-CLIP), base and large: a CLIP trained for composed queries, a picture with words that change it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders.two_tower import folder as tower_folder
from shopsearch.embedders.two_tower.embedder import FusedTowers

if TYPE_CHECKING:
    from shopsearch.types import Vectors


@dataclass(kw_only=True, eq=False)
class BGEVL(FusedTowers):
    """Embeds text, pictures and pairs with BGE-VL-base (512) or -large (768), without their remote code.

    A pair's vector is the authors' sum of both towers' features, which are not normalised first.
    """

    model: str = "BAAI/BGE-VL-base"

    family = "bge_vl"
    title = "BGE-VL"

    @cached_property
    def folder(self) -> tower_folder.TowerFolder:
        folder = tower_folder.read(tower_folder.find(self.model, self.weights, self.revision), self.weights)
        if folder.family != "clip":
            raise ImproperlyConfigured(
                f"{folder.path} is of a {folder.family}; BGE-VL base and large are CLIPs."
            )
        return folder

    def fuse(self, words: Vectors, pictures: Vectors) -> Vectors:
        """The sum, as the authors do it."""
        return words + pictures
