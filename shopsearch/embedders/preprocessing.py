"""Turns a decoded picture into the square array that a vision tower reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

EXTREME_RATIO = 8
"""From this ratio of the edges on, a picture is cropped to its middle before it is resized."""


def without_extremes(image: Image) -> Image:
    """The middle of a picture that is too long; another one as it is."""
    longest = EXTREME_RATIO * min(image.size)
    width, height = min(image.width, longest), min(image.height, longest)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Scale the shorter edge to ``size``, bicubic; crop the square in the middle; normalise each channel.

    As in the authors' code: the pixels equal torchvision's, means and deviations are CLIP's.
    """

    size: int = 224
    mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073)
    std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711)

    @property
    def square_is_final(self) -> bool:
        """Whether the square of a square is itself."""
        return True

    @property
    def useful_side(self) -> int:
        """Twice what is made of it: bicubic sampling then sees nearly the same, as in Pillow's ``thumbnail``."""
        return 2 * self.size

    def __call__(self, image: Image) -> npt.NDArray[np.float32]:
        """Shape (3, size, size). Takes any picture, even of one pixel or a very long one."""
        import numpy as np

        pixels = np.asarray(self.square(image.convert("RGB")), dtype=np.float32) / np.float32(255)
        normalised = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))

    def square(self, image: Image) -> Image:
        """The middle of the picture, size by size pixels."""
        from PIL.Image import Resampling

        width, height = image.size
        shorter, longer = sorted(image.size)
        if longer > EXTREME_RATIO * shorter:
            # Else a picture of 40,000,000 by 1 pixels would become one of 9,000,000,000 by 224.
            left, top = (width - shorter) / 2, (height - shorter) / 2
            box = (left, top, left + shorter, top + shorter)
            return image.resize((self.size, self.size), Resampling.BICUBIC, box=box)
        scaled = int(self.size * longer / shorter)
        new = (self.size, scaled) if width <= height else (scaled, self.size)
        if image.size != new:
            image = image.resize(new, Resampling.BICUBIC)
        left = round((image.width - self.size) / 2)
        top = round((image.height - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class CenterCrop(Preprocessing):
    """Scale the shorter edge to ``shorter_edge``; crop the square in the middle, rounded down, as transformers does."""

    shorter_edge: int = 224
    resample: int = 3

    @property
    def square_is_final(self) -> bool:
        return self.shorter_edge == self.size

    @property
    def useful_side(self) -> int:
        return 2 * self.shorter_edge

    def square(self, image: Image) -> Image:
        """The middle of the picture, size by size pixels."""
        image = without_extremes(image)
        shorter, longer = sorted(image.size)
        scaled = int(self.shorter_edge * longer / shorter)
        upright = image.width <= image.height
        new = (self.shorter_edge, scaled) if upright else (scaled, self.shorter_edge)
        image = image.resize(new, self.resample)
        left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
        return image.crop((left, top, left + self.size, top + self.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Squash(Preprocessing):
    """Scale both edges to ``size``, whatever the picture's proportions, as transformers' SigLIP does."""

    resample: int = 3

    def square(self, image: Image) -> Image:
        """The whole picture, size by size pixels."""
        return image.resize((self.size, self.size), self.resample)
