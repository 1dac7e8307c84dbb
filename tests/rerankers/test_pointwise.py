"""The pointwise reranker over a real, tiny, natively loaded vision-language model with random weights."""

import pytest
from PIL import Image

from shopsearch.rerankers import prompts
from shopsearch.rerankers.ordering import arrange
from shopsearch.rerankers.pointwise import PointwiseReranker
from shopsearch.rerankers.vision_models.base import VisionLanguageModel
from shopsearch.types import Candidate, Query
from tests.rerankers import tiny_models

NINE = [
    Candidate(
        product_id=str(each),
        image=Image.new("RGB", (60 + 20 * each, 90), (25 * each, 255 - 25 * each, 120)),
        text="Phone case" + " with stripes" * each,
        score=0.5,
    )
    for each in range(9)
]
PICTURE = Image.new("RGB", (120, 90), (220, 160, 40))
QUERIES = [Query(text="phone case", image=PICTURE), Query(text="a red mug"), Query(image=PICTURE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.make("qwen3_vl", tmp_path_factory.mktemp("qwen3_vl"))


@pytest.fixture(scope="module")
def reranker(folder):
    return PointwiseReranker(checkpoint=str(folder), device="cpu")


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.kind)
def test_reversing_the_candidates_changes_neither_scores_nor_order(reranker, query):
    there = reranker.rerank(query, NINE)
    back = reranker.rerank(query, NINE[::-1])
    assert there.scores == pytest.approx(back.scores[::-1], abs=1e-5)
    first = arrange(there, [0.5] * 9, lift=9).positions
    second = arrange(back, [0.5] * 9, lift=9).positions
    assert list(first) == [8 - place for place in second]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.kind)
def test_a_candidates_score_does_not_depend_on_its_neighbours(reranker, query):
    together = reranker.rerank(query, NINE).scores
    alone = [reranker.rerank(query, [each]).scores[0] for each in NINE]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 6) for score in together}) == 9


def test_nine_take_as_many_passes_as_there_are_batches_and_nothing_is_written(folder):
    reranker = PointwiseReranker(checkpoint=str(folder), device="cpu", batch_size=4)
    made = []
    reranker._loaded.model.register_forward_pre_hook(lambda *args: made.append(1))
    judgement = reranker.rerank(QUERIES[0], NINE)
    assert len(made) == 3
    assert (judgement.caption, judgement.reason, judgement.labels) == ("", "", None)


def test_a_score_is_the_probability_of_yes(reranker):
    assert all(0 < score < 1 for score in reranker.rerank(QUERIES[0], NINE).scores)


def test_it_asks_as_qwen_trains_its_rerankers(reranker):
    asked = prompts.pointwise("leopard", PICTURE, "Leopard case", NINE[0].image)
    rendered = reranker._loaded._rendered(asked)
    picture = tiny_models.IMAGE["qwen3_vl"]
    assert rendered == (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n<Instruct>: Retrieve the product that a shopper is searching for. "
        f'{prompts.DATA}<Query>:{picture}"leopard"\n<Document>:{picture}"Leopard case"<|im_end|>\n'
        "<|im_start|>assistant\n"
    )


def test_without_titles_nothing_a_seller_writes_reaches_the_model(folder, reranker, monkeypatch):
    seen = []

    def choose(self, asked, labels, *, batch_size):
        seen.extend(asked)
        return [[0.5, 0.5]] * len(asked)

    monkeypatch.setattr(VisionLanguageModel, "choose", choose)
    silent = PointwiseReranker(checkpoint=str(folder), device="cpu", titles=False)
    silent.rerank(Query(text="mug"), NINE)
    assert len(seen) == 9
    assert not any("stripes" in str(part) for each in seen for part in each.parts)
    assert silent.prompt_version != reranker.prompt_version


@pytest.mark.parametrize("size", [(1, 1), (3000, 10), (1, 700)])
def test_a_picture_of_any_shape_is_judged(reranker, size):
    odd = Candidate(product_id="odd", image=Image.new("RGB", size), text="odd", score=0.1)
    query = Query(image=Image.new("RGB", size))
    assert len(reranker.rerank(query, [odd, NINE[0]]).scores) == 2


def test_without_candidates_there_is_nothing_to_judge_and_nothing_is_loaded():
    assert PointwiseReranker(checkpoint="/nowhere").rerank(QUERIES[0], []).scores == []
