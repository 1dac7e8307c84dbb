"""The demo's own catalogue, the bundled model, and queries that nobody has seen: who asks, finds."""

from __future__ import annotations

import pytest
from PIL import Image

from demo_project.rendering.references import FOLDER, REFERENCES
from shopsearch.types import Query
from tests.services.catalogue import Asked

pytestmark = pytest.mark.nightly  # of the bundled model alone; test_hybrid_quality has search


def test_words_find_the_category_and_pattern_they_name(catalogue, asked_by_words):
    recall = catalogue.recall_at_1(asked_by_words)
    print(f"text R@1 {recall:.3f}")
    assert recall >= 0.92, f"text R@1 is {recall:.3f} over {len(asked_by_words)} queries"


def test_another_photograph_of_a_product_finds_its_category_and_pattern(catalogue, asked_by_photograph):
    recall = catalogue.recall_at_1(asked_by_photograph)
    print(f"image R@1 {recall:.3f}")
    assert recall >= 0.95, f"image R@1 is {recall:.3f} over {len(asked_by_photograph)} queries"


def test_a_picture_and_words_find_that_pattern_on_that_thing(catalogue, asked_by_picture_and_words):
    recall = catalogue.recall_at_1(asked_by_picture_and_words)
    print(f"composed R@1 {recall:.3f}")
    assert recall >= 0.87, f"composed R@1 is {recall:.3f} over {len(asked_by_picture_and_words)} queries"


@pytest.mark.parametrize(
    "words", ["phone case with this image theme", "funda de teléfono con este estampado"]
)
def test_the_leopard_and_a_phone_case_are_a_leopard_phone_case(catalogue, words):
    with Image.open(FOLDER / "leopard.jpg") as leopard:
        query = Query(text=words, image=leopard.convert("RGB"))

    [best] = catalogue.best([query], limit=3)

    found = [(article.category, article.pattern) for article in best]
    assert found == [("phone_case", "leopard")] * 3, [article.title for article in best]


def test_a_red_striped_mug_is_a_red_striped_mug(catalogue):
    [best] = catalogue.best([Query(text="red striped mug")], limit=3)

    found = [(article.category, article.pattern, article.colour) for article in best]
    assert found == [("mug", "stripes", "red")] * 3, [article.title for article in best]


def test_every_picture_of_the_demos_page_brings_its_pattern_to_a_mug(catalogue):
    asked = []
    for reference in REFERENCES:
        with Image.open(reference.path) as picture:
            query = Query(text="a mug with this", image=picture.convert("RGB"))
        asked.append(Asked(query, "mug", reference.pattern))

    best = catalogue.best([each.query for each in asked])

    wrong = [
        (reference.name, found[0].title)
        for reference, found, each in zip(REFERENCES, best, asked, strict=True)
        if (found[0].category, found[0].pattern) != (each.category, each.pattern)
    ]
    assert not wrong
