import threading

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured
from PIL import Image, ImageDraw

from shopsearch.backends import get_vector_store
from shopsearch.testing import COLOURS, ColourEmbedder, MemoryStore
from shopsearch.types import CollectionSchema, Query
from tests.embedders.contract import EmbedderContract
from tests.vector_stores.contract import VectorStoreContract

PAINT = {
    "red": (200, 20, 30),
    "orange": (255, 140, 0),
    "yellow": (250, 220, 20),
    "green": (30, 150, 50),
    "turquoise": (40, 200, 200),
    "blue": (30, 60, 200),
    "purple": (120, 30, 160),
    "pink": (255, 120, 180),
    "brown": (120, 70, 30),
    "black": (10, 10, 10),
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
}


def shoe(colour, background=(255, 255, 255)):
    picture = Image.new("RGB", (300, 200), background)
    ImageDraw.Draw(picture).ellipse((90, 60, 210, 130), fill=PAINT[colour])
    return picture


def best(embedder, query, pictures):
    [wanted] = embedder.embed([query])
    vectors = embedder.embed([Query(image=picture) for picture in pictures.values()])
    return list(pictures)[int(np.argmax(vectors @ wanted))]


@pytest.mark.parametrize("colour", COLOURS)
def test_the_name_of_a_colour_finds_the_shoe_of_that_colour(colour):
    shoes = {each: shoe(each, (128, 128, 160) if each == "white" else (255, 255, 255)) for each in COLOURS}
    assert best(ColourEmbedder(), Query(text=f"{colour} shoe"), shoes) == colour


@pytest.mark.parametrize(
    ("words", "colour"),
    [
        ("zapatos rojos", "red"),
        ("taza azul", "blue"),
        ("tazas azules", "blue"),
        ("Marrón!", "brown"),
        ("NEGRAS", "black"),
    ],
)
def test_colours_are_understood_in_spanish(words, colour):
    assert best(ColourEmbedder(), Query(text=words), {each: shoe(each) for each in COLOURS}) == colour


def test_a_picture_finds_itself_among_others_of_its_colour():
    reds = {shade: Image.new("RGB", (80, 80), (shade, 10, 10)) for shade in (180, 200, 220, 240)}
    reds["striped"] = Image.effect_noise((80, 80), 90).convert("RGB")
    embedder = ColourEmbedder()
    for name, picture in reds.items():
        assert best(embedder, Query(image=picture), reds) == name


def test_a_composed_query_is_near_both_its_picture_and_its_words():
    embedder = ColourEmbedder()
    vectors = embedder.embed(
        [Query(text="blue", image=shoe("red"))]
        + [Query(image=shoe(each)) for each in ("red", "blue", "green")]
    )
    red, blue, green = vectors[1:] @ vectors[0]
    assert min(red, blue) > green + 0.3


def test_other_words_make_other_vectors():
    vectors = ColourEmbedder().embed([Query(text="red shoe"), Query(text="red mug"), Query(text="red shoe")])
    assert (vectors[0] != vectors[1]).any()
    assert (vectors[0] == vectors[2]).all()


def test_the_embedder_counts_what_it_embeds():
    embedder = ColourEmbedder()
    threads = [threading.Thread(target=embedder.embed, args=([Query(text="red")] * 5,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert embedder.embedded == 40


def test_another_space_is_an_option_as_if_the_model_had_changed():
    assert ColourEmbedder().space != ColourEmbedder(space="colour_2").space == "colour_2"


def test_a_process_has_one_memory_store():
    assert isinstance(get_vector_store(), MemoryStore)
    assert get_vector_store() is get_vector_store()


def test_clear_forgets_every_collection():
    store = MemoryStore()
    store.ensure_collection("shoes", CollectionSchema(dimension=2))
    store.clear()
    assert store.collections() == []
    store.ensure_collection("shoes", CollectionSchema(dimension=3))
    with pytest.raises(ImproperlyConfigured):
        store.ensure_collection("shoes", CollectionSchema(dimension=2))


class TestMemoryStore(VectorStoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()


class TestColourEmbedder(EmbedderContract):
    backend = "shopsearch.testing.ColourEmbedder"
