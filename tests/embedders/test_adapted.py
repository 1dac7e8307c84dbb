"""A model with an adapter is an embedder as any other, over models that have nothing in common."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shopsearch.embedders.adapted import AdaptedEmbedder
from shopsearch.embedders.base import Embedder
from shopsearch.embedders.visualized_bge import VisualizedBGE
from shopsearch.testing import ColourEmbedder
from shopsearch.types import Query
from tests.embedders.contract import EmbedderContract


@dataclass(kw_only=True, eq=False)
class Adapted(AdaptedEmbedder):
    """With numbers that mean nothing."""

    embedder: Embedder = field(default_factory=ColourEmbedder)
    numbers: Any = None
    weight: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        dice = np.random.default_rng(1)
        self.numbers = dice.standard_normal((2, self.embedder.dimension, 9)).astype(np.float32)


@dataclass(kw_only=True, eq=False)
class AdaptedBundled(Adapted):
    embedder: Embedder = field(default_factory=VisualizedBGE)


class TestAnAdaptedColourEmbedder(EmbedderContract):
    backend = "tests.embedders.test_adapted.Adapted"


class TestTheAdaptedBundledModel(EmbedderContract):
    backend = "tests.embedders.test_adapted.AdaptedBundled"


@pytest.fixture
def adapted():
    return Adapted()


def test_another_adapter_and_another_model_are_other_spaces(adapted):
    other, heavier, bundled = Adapted(), Adapted(weight=0.6), AdaptedBundled()
    other.numbers = other.numbers + 1
    assert len({each.space for each in (adapted, other, heavier, bundled, adapted.embedder)}) == 5


def test_what_the_model_said_of_an_image_is_within_and_gives_the_same_vector_again(adapted):
    alone = adapted.embedder.embed([Query(image=Image.new("RGB", (20, 20), "red"))])
    [within] = adapted.adapt(alone)
    np.testing.assert_allclose(adapted.restore(within), alone[0], atol=1e-6)
    np.testing.assert_allclose(adapted.adapt(adapted.restore(within)[None])[0], within, atol=1e-6)


def test_a_cosine_is_the_models_own_and_the_fitted_one_by_their_weights(adapted):
    queries = [Query(text="red mug"), Query(image=Image.new("RGB", (20, 20), "red"))]
    words, image = adapted.embed(queries)
    alone = adapted.embedder.embed(queries)
    fitted = [each[alone.shape[1] :] / np.linalg.norm(each[alone.shape[1] :]) for each in (words, image)]
    expected = (alone[0] @ alone[1] + 0.5 * (fitted[0] @ fitted[1])) / 1.5
    assert words @ image == pytest.approx(expected, abs=1e-5)


def test_a_picture_with_words_orders_images_as_the_model_alone_does(adapted):
    images = [Query(image=Image.new("RGB", (20, 20), colour)) for colour in ("red", "navy", "pink", "grey")]
    asked = Query(text="blue", image=images[0].image)
    orders = [np.argsort(each.embed(images) @ each.embed([asked])[0]) for each in (adapted, adapted.embedder)]
    np.testing.assert_array_equal(*orders)
