"""Contrast: maps change until a product's words are nearer to its own images than to those of others."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from shopsearch.evaluation.contrast import TEMPERATURE, Pairs, contrasted, gradients

WEIGHT = 0.2
PRODUCTS, NUMBERS, RANK = 60, 20, 6


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Two images and two texts of each product. What they share lies elsewhere in the images than in the texts."""

    images: np.ndarray
    texts: tuple[np.ndarray, np.ndarray]
    begun: tuple[np.ndarray, np.ndarray]
    """Maps that know nothing."""

    @property
    def means(self):
        return self.images.mean(axis=0), np.concatenate(self.texts).mean(axis=0)

    @property
    def maps(self):
        """The maps, changed."""
        owners = np.repeat(np.arange(PRODUCTS), 2)
        return contrasted(
            self.begun, self.means, images=self.images, owners=owners, texts=self.texts, weight=WEIGHT
        )

    @property
    def pairs(self):
        return Pairs(images=self.images[::2], texts=self.texts[0])

    def cross_entropy(self, maps):
        pairs, means = self.pairs, self.means
        seen, said = unit((pairs.images - means[0]) @ maps[0]), unit((pairs.texts - means[1]) @ maps[1])
        scores = (pairs.texts @ pairs.images.T + WEIGHT * said @ seen.T) / TEMPERATURE
        return float((np.log(np.exp(scores).sum(axis=1)) - np.diag(scores)).mean())


@pytest.fixture
def shop():
    dice = np.random.default_rng(3)
    shared = dice.standard_normal((PRODUCTS, NUMBERS))
    turned = shared @ np.linalg.qr(dice.standard_normal((NUMBERS, NUMBERS)))[0]
    first, second = (unit(turned + 0.7 * dice.standard_normal(turned.shape)) for _ in range(2))
    images = np.repeat(shared, 2, axis=0)
    return Shop(
        images=unit(images + 0.7 * dice.standard_normal(images.shape)),
        texts=(first, second),
        begun=(dice.standard_normal((NUMBERS, RANK)), dice.standard_normal((NUMBERS, RANK))),
    )


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_text_is_nearer_to_its_own_image_than_before(shop):
    assert shop.cross_entropy(shop.maps) < shop.cross_entropy(shop.begun) - 0.1


def test_the_gradients_are_those_of_the_cross_entropy(shop):
    found = gradients(shop.begun, shop.means, shop.pairs, WEIGHT)
    for side in range(2):
        for place in [(0, 0), (7, 3), (19, 5)]:
            either = []
            for step in (1e-5, -1e-5):
                moved = [each.copy() for each in shop.begun]
                moved[side][place] += step
                either.append(shop.cross_entropy(moved))
            assert found[side][place] == pytest.approx((either[0] - either[1]) / 2e-5, rel=1e-4, abs=1e-8)


def test_the_same_products_give_the_same_maps(shop):
    assert all((one == other).all() for one, other in zip(shop.maps, shop.maps, strict=True))


def test_maps_stay_near_to_where_they_begin(shop):
    for before, now in zip(shop.begun, shop.maps, strict=True):
        assert (before * now).sum() > 0.8 * np.linalg.norm(before) * np.linalg.norm(now)


def test_where_nothing_differs_the_maps_are_numbers_all_the_same(shop):
    nothing = np.zeros((NUMBERS, RANK))
    shops = [
        replace(shop, images=np.repeat(shop.images[:1], 2 * PRODUCTS, axis=0)),
        replace(shop, texts=(np.repeat(shop.texts[0][:1], PRODUCTS, axis=0),) * 2),
        replace(shop, begun=(nothing, nothing)),
    ]
    assert all(np.isfinite(linear).all() for each in shops for linear in each.maps)
