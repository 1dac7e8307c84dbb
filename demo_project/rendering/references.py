"""The reference pictures to search with: ``python -m demo_project.rendering.references`` draws the committed files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .scenes import reference_picture

FOLDER = Path(__file__).resolve().parent.parent / "pictures"
PIXELS = 640


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A picture to search with; ``name`` is its file's, without the suffix."""

    name: str
    pattern: str
    colour: str
    scene: str
    seed: int
    alternative_text: str

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.jpg"

    def draw(self) -> None:
        # Textures that the shop does not print with: a real shopper's leopard is not the one on the mug either.
        picture = reference_picture(
            self.pattern,
            self.colour,
            seed=self.seed,
            scene=self.scene,
            size=PIXELS,
            variants=range(40, 48),
            grain=1.5,
        )
        picture.save(self.path, "JPEG", quality=84, optimize=True, progressive=True)


def _reference(name: str, pattern: str, colour: str, scene: str, seed: int, text: str) -> Reference:
    return Reference(name=name, pattern=pattern, colour=colour, scene=scene, seed=seed, alternative_text=text)


REFERENCES = (
    _reference("leopard", "leopard", "brown", "face", 3, "A leopard looking into the camera"),
    _reference("zebra", "zebra", "white", "body", 6, "A zebra standing on the grass"),
    _reference("tiger", "tiger", "orange", "face", 10, "A tiger looking into the camera"),
    _reference("giraffe", "giraffe", "brown", "body", 5, "A giraffe standing on the grass"),
    _reference("cow", "cow", "white", "face", 7, "A black and white cow looking into the camera"),
    _reference("night_sky", "galaxy", "purple", "night", 2, "A night sky full of stars over dark hills"),
    _reference("meadow", "floral", "yellow", "meadow", 8, "A meadow with yellow flowers"),
    _reference("jungle_leaves", "leaves", "green", "full", 4, "Large green leaves"),
    _reference("marble_slab", "marble", "white", "slab", 7, "A slab of white marble"),
    _reference("brick_wall", "brick", "red", "full", 3, "A wall of red bricks"),
    _reference("camouflage_cloth", "camo", "green", "drape", 5, "A draped cloth in green camouflage"),
    _reference("polka_dot_fabric", "dots", "blue", "swatch", 7, "A piece of blue fabric with white dots"),
    _reference("tartan_scarf", "plaid", "red", "drape", 9, "A folded red tartan cloth"),
    _reference("hearts_fabric", "hearts", "pink", "swatch", 6, "A piece of pink fabric with white hearts"),
)


if __name__ == "__main__":
    for reference in REFERENCES:
        reference.draw()
