"""The bundled reranker, over the stand-in embedder that truly sees colour."""

import numpy as np
import pytest
from django.utils import translation
from PIL import Image

from shopsearch.exceptions import RerankerError
from shopsearch.rerankers.joint import JointReranker
from shopsearch.testing import ColourEmbedder
from shopsearch.types import Candidate, Query

RED, GREEN, BLUE = (220, 30, 30), (30, 160, 60), (40, 60, 210)


def candidate(colour, text, score=0.5):
    return Candidate(product_id=text, image=Image.new("RGB", (32, 32), colour), text=text, score=score)


@pytest.fixture
def reranker():
    made = JointReranker()
    made.bind(ColourEmbedder())
    return made


def test_picture_and_words_together_decide(reranker):
    candidates = [candidate(BLUE, "blue mug"), candidate(RED, "red mug"), candidate(GREEN, "green mug")]
    scores = reranker.rerank(Query(text="red"), candidates).scores
    assert scores[1] == max(scores)


def test_the_order_of_the_candidates_changes_nothing(reranker):
    candidates = [candidate(BLUE, "blue mug"), candidate(RED, "red mug"), candidate(GREEN, "green mug")]
    query = Query(text="mug", image=Image.new("RGB", (8, 8), RED))
    there = reranker.rerank(query, candidates).scores
    back = reranker.rerank(query, candidates[::-1]).scores
    assert there == pytest.approx(back[::-1], abs=1e-6)


def test_the_reason_names_what_is_so(reranker):
    candidates = [candidate(BLUE, "blue mug"), candidate(RED, "red mug")]
    judgement = reranker.rerank(
        Query(text="a mug like this", image=Image.new("RGB", (8, 8), RED)), candidates
    )
    assert judgement.reason == "its words name “mug” and both pictures have much red."


def test_the_reason_says_what_the_two_pictures_share_in_the_language_of_the_page(reranker):
    candidates = [
        candidate(GREEN, "Leopard phone case, green"),
        candidate(RED, "Leopard phone case, red"),
        candidate(BLUE, "Plain mug"),
    ]
    query = Query(text="phone case", image=Image.new("RGB", (8, 8), RED))
    assert reranker.rerank(query, candidates).reason == (
        "its words name “phone case”, like your picture it is “leopard” and both pictures have much red."
    )
    with translation.override("es"):
        said = reranker.rerank(query, candidates)
    assert said.caption == "Se parece a: leopard"
    assert said.reason == (
        "sus palabras nombran «phone case», como tu imagen es «leopard» y ambas imágenes tienen mucho rojo."
    )
    plain = Query(text="mug", image=Image.new("RGB", (8, 8), (246, 206, 56)))
    assert "both" not in reranker.rerank(plain, candidates).reason, "they share no colour"


def test_of_several_colours_of_one_thing_that_of_the_picture_comes_first(reranker, monkeypatch):
    brown, grey, tan = (120, 75, 40), (150, 150, 150), (110, 65, 35)
    candidates = [
        candidate(grey, "Leopard phone case, grey"),
        candidate(tan, "Savanna leopard phone case, brown"),
        candidate(brown, "Leopard mug, brown"),
        candidate(brown, "Leopard phone case, brown"),
    ]
    # To the model's eye the grey one is a little nearer; a mug is another thing, whatever its colour.
    alike = np.array([[1, 0]] + 2 * [[0.9, 0], [0.85, 0], [0.5, 0], [0.8, 0]])
    monkeypatch.setattr(reranker._embedder, "embed", lambda queries: np.resize(alike, (len(queries), 2)))
    scores = reranker.rerank(
        Query(text="phone case", image=Image.new("RGB", (8, 8), brown)), candidates
    ).scores
    assert np.argsort(scores)[::-1].tolist() == [1, 3, 0, 2]
    assert sorted(scores) == [0.5, 0.8, 0.85, 0.9], "the scores are given anew, and no other thing gains"
    asked = Query(text="phone case in grey", image=Image.new("RGB", (8, 8), brown))
    assert np.argmax(reranker.rerank(asked, candidates).scores) == 0, "the words name the colour"


def test_the_caption_is_what_the_candidates_share_beyond_the_words_asked(reranker):
    candidates = [
        candidate(RED, "Leopard mug"),
        candidate(RED, "Leopard phone case"),
        candidate(RED, "Red cup"),
    ]
    query = Query(text="phone case", image=Image.new("RGB", (8, 8), RED))
    assert reranker.rerank(query, candidates).caption == "Looks like: leopard"
    assert reranker.rerank(Query(text="phone case"), candidates).caption == ""


def test_a_colour_that_all_candidates_say_is_not_what_the_picture_looks_like(reranker):
    candidates = [candidate(GREEN, "Green mug"), candidate(GREEN, "Green plate")]  # as after a filter
    output = reranker.rerank(Query(image=Image.new("RGB", (8, 8), RED)), candidates)
    assert output.caption == ""
    assert not [fact for facts in output.facts for fact in facts if fact.kind == "looks"]


def test_without_candidates_there_is_nothing_to_judge(reranker):
    assert list(reranker.rerank(Query(text="red"), []).scores) == []


def test_its_model_is_the_embedders_space(reranker):
    assert reranker.model == f"joint/{ColourEmbedder().space}"


def test_unbound_it_says_where_to_get_it_from():
    with pytest.raises(RerankerError, match="get_reranker"):
        JointReranker().rerank(Query(text="red"), [])
