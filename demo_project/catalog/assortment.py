"""What the demo's shop sells, by design: each kind of thing in each pattern, three times, in different colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from io import BytesIO
from random import Random

from django.utils.text import slugify

from demo_project.rendering.palettes import COLOURS, NATURAL, PATTERNS, UNNATURAL
from demo_project.rendering.products import STUDIO, product_picture

COLOURS_EACH = 3
PICTURE_PIXELS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A category of the shop, as its products speak of themselves."""

    name: str
    thing: str
    price: float
    """The usual one."""
    brands: tuple[str, ...]
    material: str
    use: str


KINDS: dict[str, Kind] = {
    "phone_case": Kind(
        name="Phone cases",
        thing="phone case",
        price=17.9,
        brands=("Casewell", "Pocketry"),
        material="Hard shell with a raised edge around the screen and the camera.",
        use="Wireless charging works through it.",
    ),
    "mug": Kind(
        name="Mugs",
        thing="mug",
        price=12.5,
        brands=("Hearth & Clay", "Ordinary Days"),
        material="Glazed stoneware that holds 350 ml.",
        use="Fit for the dishwasher and the microwave.",
    ),
    "tshirt": Kind(
        name="T-shirts",
        thing="t-shirt",
        price=22.0,
        brands=("Loomwise", "Southpaw"),
        material="Combed cotton of 180 g/m², printed all over.",
        use="Regular cut; wash at 30 degrees, inside out.",
    ),
    "tote": Kind(
        name="Tote bags",
        thing="tote bag",
        price=16.0,
        brands=("Loomwise", "Pocketry"),
        material="Heavy cotton canvas with long handles.",
        use="Carries ten kilos of market day.",
    ),
    "cushion": Kind(
        name="Cushions",
        thing="cushion",
        price=24.5,
        brands=("Ordinary Days", "Hearth & Clay"),
        material="Soft cover with a hidden zip, 45 by 45 cm.",
        use="The filling comes with it; the cover goes into the wash.",
    ),
    "sneaker": Kind(
        name="Sneakers",
        thing="sneakers",
        price=64.0,
        brands=("Southpaw", "Kerb"),
        material="Canvas upper on a rubber sole.",
        use="They run true to size.",
    ),
    "cap": Kind(
        name="Caps",
        thing="cap",
        price=19.0,
        brands=("Kerb", "Southpaw"),
        material="Cotton twill in six panels, with a strap at the back.",
        use="One size, for heads from 55 to 60 cm.",
    ),
    "notebook": Kind(
        name="Notebooks",
        thing="notebook",
        price=9.9,
        brands=("Margin", "Ordinary Days"),
        material="120 sheets of dotted paper that ink does not bleed through.",
        use="Lies flat on the table when it is open.",
    ),
    "umbrella": Kind(
        name="Umbrellas",
        thing="umbrella",
        price=29.0,
        brands=("Drizzle", "Kerb"),
        material="Fibreglass ribs that bend in a gust and do not break.",
        use="Opens by a button; 104 cm across.",
    ),
    "backpack": Kind(
        name="Backpacks",
        thing="backpack",
        price=48.0,
        brands=("Pocketry", "Kerb"),
        material="Water-repellent fabric and a padded back, 18 litres.",
        use="There is a sleeve for a laptop of 15 inches.",
    ),
    "dress": Kind(
        name="Dresses",
        thing="dress",
        price=54.0,
        brands=("Loomwise", "Marisol"),
        material="Light viscose with a fitted waist and a wide skirt.",
        use="Falls just below the knee.",
    ),
    "plate": Kind(
        name="Plates",
        thing="plate",
        price=14.0,
        brands=("Hearth & Clay", "Ordinary Days"),
        material="Porcelain, 27 cm across, decorated under the glaze.",
        use="Fit for the dishwasher.",
    ),
    "watch": Kind(
        name="Watches",
        thing="watch",
        price=79.0,
        brands=("Meridian", "Margin"),
        material="Quartz movement in a steel case of 38 mm, with a printed strap.",
        use="Stands rain, though not a swim.",
    ),
    "socks": Kind(
        name="Socks",
        thing="socks",
        price=7.5,
        brands=("Southpaw", "Loomwise"),
        material="Combed cotton with reinforced toes and heels.",
        use="One pair, in sizes 36 to 46.",
    ),
    "vase": Kind(
        name="Vases",
        thing="vase",
        price=34.0,
        brands=("Hearth & Clay", "Marisol"),
        material="Ceramic, 26 cm high, glazed inside and out.",
        use="Holds water, and a good deal of attention.",
    ),
    "lamp": Kind(
        name="Lamps",
        thing="table lamp",
        price=59.0,
        brands=("Meridian", "Ordinary Days"),
        material="A printed fabric shade on a metal stand, 42 cm high.",
        use="Takes an E27 bulb of up to 40 W.",
    ),
}

_PATTERNS: dict[str, tuple[str, str]] = {
    "solid": ("plain", "One colour"),
    "stripes": ("striped", "Stripes"),
    "dots": ("polka dot", "Polka dots"),
    "plaid": ("tartan", "A tartan"),
    "chevron": ("zigzag", "Zigzag lines"),
    "checkered": ("checkerboard", "A checkerboard"),
    "floral": ("floral", "Flowers"),
    "hearts": ("hearts", "Little hearts"),
    "stars": ("star", "Stars"),
    "leopard": ("leopard", "A leopard's spots"),
    "zebra": ("zebra", "A zebra's stripes"),
    "tiger": ("tiger", "A tiger's stripes"),
    "cow": ("cow print", "A cow's patches"),
    "giraffe": ("giraffe", "A giraffe's patches"),
    "camo": ("camouflage", "Camouflage"),
    "galaxy": ("galaxy", "A sky full of stars"),
    "marble": ("marble", "Veins of marble"),
    "brick": ("brick", "A brick wall"),
    "leaves": ("tropical leaf", "Tropical leaves"),
}
"""How a title names the pattern, and how a description begins."""

# Beside the design: more of what everybody asks for first.
_MORE = (
    ("mug", "stripes", "red", "Deckchair striped mug, red"),
    ("mug", "stripes", "red", "Barber striped mug, red"),
    ("phone_case", "leopard", "brown", "Savanna leopard phone case, brown"),
    ("phone_case", "leopard", "brown", "Acacia leopard phone case, brown"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """A product as it is designed: what it is, what it is called, and the seed of its looks."""

    sku: str
    category: str
    pattern: str
    colour: str
    design: int
    title: str
    description: str
    price: Decimal
    stock: int
    brand: str

    @property
    def kind(self) -> Kind:
        return KINDS[self.category]

    @property
    def slug(self) -> str:
        return slugify(self.title)

    def photograph(self) -> bytes:
        """Its picture, a JPEG file; the same every time."""
        picture = product_picture(
            self.category,
            self.pattern,
            self.colour,
            design=self.design,
            size=PICTURE_PIXELS,
            style=STUDIO,
        )
        file = BytesIO()
        picture.save(file, "JPEG", quality=88)
        return file.getvalue()


@cache
def articles() -> Sequence[Article]:
    """The whole assortment, in the order of the shop's shelves: mixed, and the same every time."""
    designs = [
        (category, pattern, colour, f"{_PATTERNS[pattern][0]} {kind.thing}, {colour}".capitalize())
        for category, kind in KINDS.items()
        for pattern in PATTERNS
        for colour in _colours(category, pattern)
    ]
    sold = [_article(number, *design) for number, design in enumerate((*designs, *_MORE))]
    Random("shelves").shuffle(sold)
    return tuple(sold)


def _colours(category: str, pattern: str) -> list[str]:
    dice = Random(f"{category}/{pattern}")
    if pattern in NATURAL:
        return [NATURAL[pattern], *dice.sample(UNNATURAL[pattern], COLOURS_EACH - 1)]
    colours = dice.sample(list(COLOURS), COLOURS_EACH)
    if (category, pattern) == ("mug", "stripes") and "red" not in colours:
        colours[0] = "red"
    return colours


def _article(number: int, category: str, pattern: str, colour: str, title: str) -> Article:
    dice, kind = Random(f"article {number}"), KINDS[category]
    price = Decimal(str(kind.price)) * Decimal(dice.choice(["0.8", "0.9", "1", "1", "1.1", "1.25"]))
    return Article(
        sku=f"{category[:3]}-{pattern[:3]}-{number:04}".upper(),
        category=category,
        pattern=pattern,
        colour=colour,
        design=2_000_000 + number,
        title=title,
        description=f"{_PATTERNS[pattern][1]}, in {colour}. {kind.material} {kind.use}",
        price=price.quantize(Decimal("0.1")) + Decimal("0.00"),
        stock=0 if dice.random() < 0.07 else dice.randint(2, 140),
        brand=dice.choice(kind.brands),
    )
