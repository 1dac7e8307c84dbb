"""Examples: what the results should be like or unlike, and the one vector that is searched with instead of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from django.utils.translation import gettext as _
from PIL.Image import Image

from shopsearch import images
from shopsearch.conf import settings
from shopsearch.exceptions import QueryError
from shopsearch.images import decode, normalised

if TYPE_CHECKING:
    from shopsearch.types import Vector

MAX_EXAMPLES = 5
PENALTY = 0.7
"""How far the unwanted examples push, where the wanted ones pull with 1. Less than 1: see ``steered``. Measured by
benchmarks/steering.py: less leaves too much of what is unwanted, more loses what is wanted."""
EXCLUDED_WORDS = 0.4 / PENALTY
"""The weight of the words that a text excludes, together: word search leaves them out already."""
MIN_SIDE = 8
"""Pixels; in a smaller part of a picture no model sees anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A part of a picture, in shares of its width and height, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def of(cls, numbers: Iterable[object]) -> Box:
        """The box of these four numbers, or of texts of them. Raises QueryError for a box that is no part."""
        try:
            x, y, width, height = (float(each) for each in numbers)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError) as error:
            raise QueryError(
                _("A part of a picture is four numbers: left, top, width and height, as 0.1,0.2,0.5,0.5.")
            ) from error
        box = cls(x=x, y=y, width=width, height=height)
        box.check()
        return box

    def check(self) -> None:
        """Raises QueryError for a box that is not within the picture."""
        slack = 1e-3  # of rounding
        inside = 0 <= self.x < 1 and 0 <= self.y < 1 and self.width > 0 and self.height > 0
        if not (inside and self.x + self.width <= 1 + slack and self.y + self.height <= 1 + slack):
            raise QueryError(
                _("A part of a picture lies within it: left, top, width and height are shares from 0 to 1.")
            )

    def cut(self, picture: Image) -> Image:
        """The part alone. Raises QueryError where it is too small to see anything in it."""
        self.check()
        left, top = round(self.x * picture.width), round(self.y * picture.height)
        right = min(picture.width, round((self.x + self.width) * picture.width))
        bottom = min(picture.height, round((self.y + self.height) * picture.height))
        if min(right - left, bottom - top) < min(MIN_SIDE, *picture.size):
            raise QueryError(_("That part of the picture is too small; choose a larger one."))
        return picture.crop((left, top, right, bottom))

    def __str__(self) -> str:
        return ",".join(f"{each:.4g}" for each in (self.x, self.y, self.width, self.height))


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A picture, or a product or an image of the shop, that the results should be like, or unlike: one of the three."""

    image: Image | BinaryIO | bytes | None = None
    """What ``shopsearch.images.decode`` returns, or what it takes."""
    product: object = None
    """The key of a product of the shop: the mean of its images' stored vectors counts."""
    image_id: object = None
    """The key of an image of the shop: its stored vector counts."""
    weight: float = 1.0
    """From -1 to 1; negative: less like this."""
    box: Box | None = None
    """The part of ``image`` that is meant; all of it unless given."""

    @property
    def is_encoded(self) -> bool:
        """Whether the picture has still to be decoded."""
        return self.image is not None and not isinstance(self.image, Image)

    def read(self) -> Example:
        """The same with the bytes of a picture that has still to be decoded. Raises ImageTooLarge."""
        if self.image is None or isinstance(self.image, Image):
            return self
        return replace(self, image=images.read(self.image))

    def seconds(self, *, share: float = 1.0) -> float:
        """About how much processor time decoding takes, of a picture that was read. Raises ImageError."""
        return images.seconds_of(self.image, share=share) if isinstance(self.image, bytes) else 0.0

    def decoded(self, *, share: float = 1.0) -> Example:
        """The same with a picture that is decoded, cut to its part and made small. Raises ImageError and QueryError.

        ``share`` is what it may have of the limits for the pictures of one search.
        """
        picture = self.picture(share=share)
        return self if picture is None else replace(self, image=picture, box=None)

    def picture(self, *, share: float = 1.0) -> Image | None:
        """``image``, decoded, cut to the part that is meant, and made small. Raises ImageError and QueryError."""
        if self.image is None:
            return None
        if isinstance(self.image, Image):
            picture = self.image
        else:
            side = settings.QUERY_IMAGE_SIDE
            if self.box is not None:
                self.box.check()
                side = round(side / max(0.01, min(self.box.width, self.box.height)))
            picture = decode(self.image, side=side, share=share)
        return normalised(picture if self.box is None else self.box.cut(picture))

    @property
    def is_wanted(self) -> bool:
        return self.weight > 0


def of_picture(image: Image | None) -> tuple[Example, ...]:
    """The picture as the only example; no example without a picture."""
    return () if image is None else (Example(image=image),)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownExample:
    """An example that has been checked: a decoded picture, or images that the shop shows."""

    weight: float
    picture: Image | None = None
    images: Sequence[Any] = ()
    """The image that is meant, or those of the product that is meant."""
    product: Any = None
    can_be_embedded: bool = False
    """Whether an image of the shop is opened and embedded where the store has no vector of it."""

    @property
    def is_wanted(self) -> bool:
        return self.weight > 0


def check(examples: Sequence[Example]) -> None:
    """Raises QueryError with what is wrong with them."""
    if len(examples) > MAX_EXAMPLES:
        raise QueryError(
            _("Use at most %(most)s examples: pictures and products together.") % {"most": MAX_EXAMPLES}
        )
    for each in examples:
        given = [part for part in (each.image, each.product, each.image_id) if part is not None]
        if len(given) != 1:
            raise QueryError(_("An example is either a picture, a product, or an image of the shop."))
        if not 0 < abs(each.weight) <= 1:  # nor is NaN
            raise QueryError(_("An example's weight is a number from -1 to 1, but not 0."))
        if each.box is not None and each.image is None:
            raise QueryError(
                _("Only a picture that is sent has a box; products of the shop count as a whole.")
            )


def steered(weighted: Sequence[tuple[float, Vector]]) -> Vector | None:
    """The vector to search with, of unit length; None where nothing is wanted, or what is wanted cancels out.

    The wanted vectors make a normalised weighted sum; the mean of the unwanted ones, times PENALTY, is taken from it:
    Rocchio's relevance feedback (Rocchio 1971, "Relevance feedback in information retrieval", in Salton's The SMART
    Retrieval System). The penalty cannot throw out what is wanted. As PENALTY is less than 1, the result is within
    asin(PENALTY) of the wanted sum, 44 degrees, and the wanted sum always scores at least as high as the unwanted mean
    does. Weights of unwanted vectors that add up to less than 1 push less.
    """
    import numpy as np

    wanted = sum((weight * vector for weight, vector in weighted if weight > 0), start=np.float32(0))
    length = float(np.linalg.norm(wanted))
    if length < 1e-6:
        return None
    result = wanted / length
    total = sum(-weight for weight, _vector in weighted if weight < 0)
    if total:
        unwanted = sum((weight * vector for weight, vector in weighted if weight < 0), start=np.float32(0))
        result = result + PENALTY * unwanted / max(1.0, total)
        result = result / np.linalg.norm(result)
    return np.asarray(result, np.float32)
