"""Of searches for what the demo does not sell most are called weak, and of those for what it sells hardly any."""

from random import Random

import numpy as np
import pytest

from demo_project.catalog.assortment import KINDS
from demo_project.rendering.absences import ABSENT_THINGS
from demo_project.rendering.palettes import COLOURS, PATTERNS
from demo_project.rendering.vocabulary import (
    CATEGORY_NAMES,
    COLOUR_NAMES,
    PATTERN_ADJECTIVES,
    PATTERN_NOUNS,
)
from shopsearch.evaluation.calibrator import FOREIGN_WORDS, SAMPLE_SIZE, Sample, measure
from shopsearch.types import Query

pytestmark = pytest.mark.nightly  # a worker that calibrates takes most of a minute

QUERIES = 200


@pytest.fixture(scope="module")
def weak(catalogue):
    """The share of the queries whose best result is a weak match, as a worker calibrates the shop by itself."""
    chosen = Random("calibration").sample(range(len(catalogue.articles)), SAMPLE_SIZE)
    samples = [
        Sample(
            product_id=str(place),
            text=catalogue.articles[place].title,
            image=catalogue.pictures[place],
            vector=catalogue.vectors[place],
        )
        for place in chosen
    ]

    def best(vectors, without):
        scores = np.asarray(vectors @ catalogue.vectors.T, np.float64)
        for row, product in zip(scores, without, strict=True):
            if product:
                row[int(product)] = -1
        return scores.max(axis=1)

    typical = catalogue.vectors[chosen].mean(axis=0)
    measured = measure(samples, index="", embedder=catalogue.embedder, typical=typical, best=best)
    calibrations = {each.calibration.kind: each.calibration for each in measured}

    def share(queries):
        vectors = catalogue.embedder.embed(queries)
        scores = (vectors @ catalogue.vectors.T).max(axis=1)
        flagged = [
            score < calibrations[query.kind].weak_below(vector)
            for query, vector, score in zip(queries, vectors, scores, strict=True)
        ]
        return sum(flagged) / len(flagged)

    return share


@pytest.fixture(scope="module")
def absent():
    """A hundred things alone, and a hundred in the shop's own colours and patterns; English and Spanish in turn."""
    dice = Random("absent")
    queries = []
    for number in range(QUERIES):
        language = ("en", "es")[number % 2]
        thing = dice.choice(ABSENT_THINGS[language])
        dye = dice.choice(COLOUR_NAMES[language][dice.choice(list(COLOURS))])
        pattern = dice.choice(PATTERNS)
        adjective = dice.choice(PATTERN_ADJECTIVES[language][pattern])
        forms = (
            [f"{dye} {thing}", f"{adjective} {thing}", f"{dye} {adjective} {thing}"]
            if language == "en"
            else [
                f"{thing} {dye}",
                f"{thing} {adjective}",
                f"{thing} con {dice.choice(PATTERN_NOUNS['es'][pattern])}",
            ]
        )
        queries.append(Query(text=thing if number < QUERIES // 2 else dice.choice(forms)))
    return queries


def test_of_200_searches_for_things_not_sold_80_in_100_are_called_weak(weak, absent):
    assert len({query.text for query in absent}) >= 100
    alone, described = weak(absent[: QUERIES // 2]), weak(absent[QUERIES // 2 :])
    share = weak(absent)
    print(
        f"weak, of what is not sold: {share:.3f} ({alone:.3f} alone, {described:.3f} in a colour or pattern)"
    )
    assert share >= 0.80


def test_of_200_searches_for_things_sold_at_most_5_in_100_are_called_weak(weak, asked_by_words):
    share = weak([each.query for each in asked_by_words[:QUERIES]])
    print(f"weak, of what is sold: {share:.3f}")
    assert share <= 0.05


def test_every_name_of_what_is_sold_is_hardly_ever_called_weak(weak):
    names = [
        Query(text=name) for language in CATEGORY_NAMES.values() for kind in KINDS for name in language[kind]
    ]
    share = weak(names)
    print(f"weak, of bare names: {share:.3f}")
    assert share <= 0.05


def test_a_photograph_of_what_is_sold_is_hardly_ever_called_weak(weak, asked_by_photograph):
    share = weak([each.query for each in asked_by_photograph])
    print(f"weak, of photographs: {share:.3f}")
    assert share <= 0.05


def test_a_picture_and_words_are_hardly_ever_called_weak(weak, asked_by_picture_and_words):
    share = weak([each.query for each in asked_by_picture_and_words])
    print(f"weak, of pictures and words: {share:.3f}")
    assert share <= 0.05


def test_nothing_was_calibrated_with_the_words_of_the_test():
    foreign = {" ".join(word.split()) for word in FOREIGN_WORDS}
    assert foreign.isdisjoint({thing for things in ABSENT_THINGS.values() for thing in things})
