"""Typed decisions: a probability per candidate, from a model in this process or on a server."""

import base64
import io

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shopsearch.exceptions import RerankerError
from shopsearch.rerankers import decision
from shopsearch.rerankers.decision import DecisionReranker, DecisionServerReranker
from shopsearch.rerankers.ordering import arrange
from shopsearch.types import Candidate, Query
from tests.rerankers import tiny_models

SHADES = [(20 * place, 40, 200 - 20 * place) for place in range(10)]
QUERY = Query(text="a red mug", image=Image.new("RGB", (32, 32), "red"))


def candidates(count=9, text="a mug"):
    return [
        Candidate(
            product_id=str(place),
            image=Image.new("RGB", (32, 32), SHADES[place % 10]),
            text=text,
            score=1 - place / 50,
        )
        for place in range(count)
    ]


def remote(server, **options):
    return DecisionServerReranker(**{"url": server.url, "model": "tiny", "timeout_seconds": 120, **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.make("gemma3", tmp_path_factory.mktemp("decision") / "gemma3")


@pytest.fixture(scope="module")
def local(folder):
    return DecisionReranker(checkpoint=str(folder), device="cpu")


def test_the_probabilities_are_the_scores(model_server):
    model_server.will("decide")
    judgement = remote(model_server).rerank(QUERY, candidates(4))
    assert judgement.scores == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert len(model_server.requests) == 1


def test_the_question_is_a_choice_with_two_pictures_by_value(model_server):
    model_server.will("decide")
    remote(model_server).rerank(QUERY, candidates())
    [asked] = model_server.requests
    assert asked["path"] == "/v1/systemone"
    question = asked["question"]
    assert set(question) == {"model", "state", "questions", "assets"}
    assert list(question["questions"]["best"]["criteria"]) == [str(number) for number in range(1, 10)]
    sizes = {}
    for name, asset in question["assets"].items():
        assert (asset["type"], asset["format"]) == ("image", "jpeg")
        sizes[name] = Image.open(io.BytesIO(base64.b64decode(asset["data_base64"]))).size
        assert question["state"].count(name) == 1
    assert sizes == {"<query-picture>": (32, 32), "<collage>": (900, 900)}


@pytest.mark.parametrize("count", [2, 25])
def test_transformers_takes_the_question_for_a_valid_one(count):
    from transformers.decision import DecisionConfig, parse_questions

    asked = decision._question(Query(text="mug"), candidates(count), titles=True)
    [parsed] = parse_questions(asked["questions"], DecisionConfig())
    assert len(parsed.labels) == count


@given(text=st.text() | st.sampled_from(["<collage>", "＜collage＞", "<query-picture>\n", "<|mark|>"]))
def test_no_text_of_a_stranger_can_bring_in_a_picture_or_a_line(text):
    asked = decision._question(Query(text=text, image=QUERY.image), candidates(2, text), titles=True)
    criteria = asked["questions"]["best"]["criteria"].values()
    assert (asked["state"].count("<collage>"), asked["state"].count("<query-picture>")) == (1, 1)
    assert not any("<" in each or "\n" in each for each in criteria)
    assert len(asked["state"].splitlines()) == (5 if text else 4)


def test_without_titles_nothing_that_a_seller_wrote_is_sent():
    asked = decision._question(QUERY, candidates(text="a secret mug"), titles=False)
    assert "secret" not in str(asked)


@pytest.mark.parametrize("step", ["500", "422", "html", "write", "drip_body"])
def test_a_fault_is_an_error_of_the_reranker(model_server, step):
    model_server.will(step)
    with pytest.raises(RerankerError):
        remote(model_server, timeout_seconds=0.5).rerank(QUERY, candidates(2))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["answers", "best", "probabilities", "1", "2", "3"]), inner)
    ),
)
PROBABILITIES = st.dictionaries(st.sampled_from("01234"), JSON).map(
    lambda found: {"answers": {"best": {"type": "choice", "probabilities": found}}}
)


@settings(max_examples=60)
@given(body=JSON | PROBABILITIES)
def test_any_json_is_a_judgement_or_an_error_of_the_reranker(model_server_process, body):
    model_server_process.will("write", body=body)
    try:
        judgement = remote(model_server_process, retries=0).rerank(QUERY, candidates(3))
    except RerankerError:
        return
    assert sorted(arrange(judgement, [0.9, 0.8, 0.7]).positions) == [0, 1, 2]


def test_in_process_one_forward_pass_decides_among_nine(local, monkeypatch):
    model = local._loaded.model
    passes, forward = [], type(model).forward
    monkeypatch.setattr(
        type(model), "forward", lambda *args, **kwargs: passes.append(1) or forward(*args, **kwargs)
    )
    scores = local.rerank(QUERY, candidates()).scores
    assert len(passes) == 1
    assert len(scores) == 9
    assert sum(scores) == pytest.approx(1)
    assert min(scores) > 0


@pytest.mark.parametrize(
    "query", [Query(text="mug"), Query(image=QUERY.image)], ids=["only words", "only a picture"]
)
def test_words_or_a_picture_alone_are_a_query(local, query):
    assert sum(local.rerank(query, candidates(2)).scores) == pytest.approx(1)


def test_in_process_and_on_a_server_of_transformers_the_same_model_decides_the_same(
    local, transformers_serve
):
    # The same seed made both. The pictures differ by what JPEG loses.
    served = remote(transformers_serve, model=transformers_serve.folder).rerank(QUERY, candidates())
    assert served.scores == pytest.approx(local.rerank(QUERY, candidates()).scores, abs=0.02)


def test_a_checkpoint_that_is_not_there_is_a_mistake_of_the_project(tmp_path):
    missing = DecisionReranker(checkpoint=str(tmp_path / "none"))
    with pytest.raises(ImproperlyConfigured):
        missing.rerank(QUERY, candidates(2))
    assert [message.id for message in missing.check()] == ["shopsearch.E021"]


def test_check_names_the_option_that_is_wrong(folder):
    assert DecisionReranker(checkpoint=str(folder)).check() == []
    [message] = DecisionReranker(checkpoint=str(folder), most_candidates=30).check()
    assert "most_candidates" in message.msg
    [message] = DecisionServerReranker(url="http://localhost/v1").check()
    assert "model" in message.msg


def test_receipts_tell_which_model_and_which_words(folder, local):
    assert local.model.startswith("decision/gemma3@")
    silent = DecisionReranker(checkpoint=str(folder), titles=False)
    assert local.prompt_version != silent.prompt_version
    assert len(local.prompt_version) <= 20
