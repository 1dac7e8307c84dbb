"""The colours of what a picture shows, and the colours that words ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

Numbers = npt.NDArray[np.float32]
RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour that has a name in most languages."""

    name: str
    shades: tuple[RGB, ...]
    """What is called so, in sRGB."""
    words: str
    """English, German, French, Spanish, Italian, Portuguese, Dutch, Swedish, Polish."""
    near: tuple[tuple[str, float], ...] = ()
    """Other names that a picture of this colour may get, and how likely."""


COLOURS = (
    Colour(
        "black",
        ((15, 15, 15), (40, 40, 42)),
        "black schwarz schwarze schwarzer schwarzes noir noire noirs noires negro negra negros negras nero nera "
        "neri nere preto preta pretos pretas zwart zwarte svart svarta czarny czarna czarne",
    ),
    Colour(
        "white",
        ((250, 250, 250), (235, 235, 232)),
        "white ivory cream weiß weiss weiße weisse weißer weisser weißes weisses blanc blanche blancs blanches "
        "blanco blanca blancos blancas bianco bianca bianchi bianche branco branca brancos brancas wit witte vit "
        "vita vitt biały biała białe",
    ),
    Colour(
        "grey",
        ((128, 128, 128), (170, 170, 170), (90, 92, 95), (200, 200, 200)),
        "grey gray silver charcoal anthracite grau graue grauer graues silbern gris grise grises argent plateado "
        "grigio grigia grigi grigie cinza cinzento prata grijs grijze zilver grå gråa grått szary szara szare "
        "srebrny",
    ),
    Colour(
        "red",
        ((200, 25, 30), (150, 20, 30), (225, 60, 50)),
        "red maroon burgundy crimson scarlet rot rote roter rotes rouge rouges bordeaux rojo roja rojos rojas "
        "granate rosso rossa rossi rosse vermelho vermelha vermelhos vermelhas rood rode röd röda rött czerwony "
        "czerwona czerwone",
        (("pink", 0.1),),
    ),
    Colour(
        "orange",
        ((245, 130, 30), (225, 100, 20), (250, 165, 70)),
        "orange coral oranger naranja naranjas arancione arancioni laranja oranje pomarańczowy",
    ),
    Colour(
        "yellow",
        ((245, 215, 40), (250, 235, 120), (220, 185, 40)),
        "yellow mustard gold golden gelb gelbe gelber gelbes jaune jaunes amarillo amarilla amarillos amarillas "
        "giallo gialla gialli gialle amarelo amarela amarelos amarelas geel gele gul gula gult żółty żółta żółte",
    ),
    Colour(
        "green",
        ((40, 140, 60), (90, 170, 70), (30, 85, 50), (120, 130, 60), (150, 200, 80)),
        "green olive mint lime grün grüne grüner grünes oliv vert verte verts vertes verde verdes verdi groen "
        "groene grön gröna grönt zielony zielona zielone",
    ),
    Colour(
        "turquoise",
        ((30, 170, 170), (70, 200, 190), (20, 120, 130)),
        "turquoise teal aqua cyan türkis turquesa turchese turkoois turkos turkusowy",
        (("blue", 0.3), ("green", 0.3)),
    ),
    Colour(
        "blue",
        ((30, 90, 200), (60, 130, 210), (120, 175, 225), (80, 110, 160)),
        "blue denim indigo blau blaue blauer blaues bleu bleue bleus bleues azul azules blu azzurro azzurra azuis "
        "blauw blauwe blå blåa blått niebieski niebieska niebieskie",
        (("navy", 0.4),),
    ),
    Colour(
        "navy",
        ((20, 30, 70), (35, 50, 95)),
        "navy marineblau dunkelblau marino marineblauw marinblå granatowy",
        (("blue", 0.5),),
    ),
    Colour(
        "purple",
        ((110, 50, 150), (150, 100, 190), (80, 30, 90), (180, 160, 210)),
        "purple violet lilac lavender plum lila violett violette morado morada morados moradas viola roxo roxa "
        "paars paarse fioletowy",
        (("pink", 0.15),),
    ),
    Colour(
        "pink",
        ((245, 150, 185), (230, 80, 140), (250, 200, 210)),
        "pink fuchsia magenta rosa rosas rose roze różowy różowa różowe",
        (("purple", 0.1),),
    ),
    Colour(
        "brown",
        ((110, 65, 35), (80, 50, 35), (150, 100, 60)),
        "brown tan chocolate camel braun braune brauner braunes brun brune marron marrón marrones marrone marroni "
        "castanho castanha bruin bruine bruna brunt brązowy brązowa brązowe",
        (("beige", 0.2),),
    ),
    Colour(
        "beige",
        ((220, 200, 170), (200, 175, 140), (235, 225, 205)),
        "beige sand nude khaki ecru écru sabbia areia zand beżowy",
        (("brown", 0.2), ("white", 0.2)),
    ),
)
NAMES = tuple(colour.name for colour in COLOURS)
BY_WORD = {word: number for number, colour in enumerate(COLOURS) for word in colour.words.split()}

SIDE = 48
"""Pixels of the thumbnail whose colours are counted."""
LIGHTNESS_BINS, CHROMA_BINS = 5, 6
SHADES = LIGHTNESS_BINS * CHROMA_BINS**2
EVEN_BORDER = 12.0
"""The median distance from its median up to which a border is a background; in Lab, where 2 is just visible."""
SOFTNESS = 7.0
"""In Lab: how fast a pixel loses its claim to a name with the distance from its shade."""


def asked(text: str) -> Numbers:
    """The share of each named colour that a text asks for, unit length and centred; zeros where it names none."""
    shares = np.zeros(len(NAMES), np.float32)
    for word in re.findall(r"\w+", text.lower()):
        if (number := BY_WORD.get(word)) is not None:
            shares[number] += 1
            for other, likelihood in COLOURS[number].near:
                shares[NAMES.index(other)] += likelihood
    if shares.any():
        shares /= np.linalg.norm(shares)
        shares -= shares.mean()
    return shares


def seen(image: Image) -> tuple[Numbers, Numbers]:
    """The share of each named colour, shape (14,), and the root of each shade's, shape (180,).

    What stands before an even background counts, and the middle counts more than the edge.
    """
    lab = _lab(np.asarray(image.resize((SIDE, SIDE)), np.float64))
    weights = _foreground(lab)
    pixels = lab.reshape(-1, 3)
    squares = (pixels**2).sum(1)[:, None] + (_SHADES**2).sum(1) - 2 * pixels @ _SHADES.T
    nearest = np.minimum.reduceat(squares, _FIRST_SHADES, axis=1)
    names = np.exp(-np.sqrt(np.maximum(nearest, 0)) / SOFTNESS)
    names /= names.sum(1, keepdims=True) + 1e-12
    lightness = np.clip((pixels[:, 0] / 100 * LIGHTNESS_BINS).astype(int), 0, LIGHTNESS_BINS - 1)
    a, b = (
        np.clip(((pixels[:, axis] + 60) / 120 * CHROMA_BINS).astype(int), 0, CHROMA_BINS - 1)
        for axis in (1, 2)
    )
    shade = (lightness * CHROMA_BINS + a) * CHROMA_BINS + b
    shades = np.bincount(shade, weights=weights, minlength=SHADES)
    return (weights @ names).astype(np.float32), np.sqrt(shades).astype(np.float32)


def shared(picture: Image | None, others: Sequence[Image]) -> Numbers:
    """Of each of the others the share of each named colour that it and the picture both have, shape (others, 14).

    Zeros where there is no picture.
    """
    if picture is None or not others:
        return np.zeros((len(others), len(NAMES)), np.float32)
    shares = [seen(each.convert("RGB"))[0] for each in (picture, *others)]
    return np.minimum(shares[0], shares[1:])


def _foreground(lab: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """How much each pixel counts, in sum 1."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    background = np.median(border, axis=0)
    spread = np.median(np.linalg.norm(border - background, axis=1))
    if spread < EVEN_BORDER:
        far = np.linalg.norm(lab - background, axis=2)
        front = 1 / (1 + np.exp((max(10.0, 2.5 * spread) - far) / 3))
    else:
        front = np.full(lab.shape[:2], 0.5)
    weights = (np.exp(-(x**2 + y**2) / (2 * 0.55**2)) * (front + 0.03)).ravel()
    return np.asarray(weights / weights.sum())


def _lab(rgb: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """CIE L*a*b* under D65 of sRGB values up to 255."""
    linear = rgb / 255
    linear = np.where(linear > 0.04045, ((linear + 0.055) / 1.055) ** 2.4, linear / 12.92)
    to_xyz = np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    xyz = linear @ to_xyz / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


_SHADES = _lab(np.array([shade for colour in COLOURS for shade in colour.shades], np.float64))
_FIRST_SHADES = np.cumsum([0, *(len(colour.shades) for colour in COLOURS[:-1])])
