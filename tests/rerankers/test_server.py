"""A chat completions server: what it is asked, and what is made of whatever it says."""

import base64
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.files.base import ContentFile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shopsearch.exceptions import RerankerError
from shopsearch.indexing import batch
from shopsearch.models import Change, ProductImage
from shopsearch.registry import index_for
from shopsearch.rerankers.ordering import arrange
from shopsearch.rerankers.server import ServerReranker
from shopsearch.search import reranking
from shopsearch.search.engine import search
from shopsearch.types import Candidate, Query
from tests.shop.models import Product

NEVER = 120.0
"""Seconds that no test waits: what ends before them ended by itself."""


def candidates(count=9, text="a mug"):
    return [
        Candidate(product_id=str(place), image=Image.new("RGB", (32, 32)), text=text, score=1 - place / 50)
        for place in range(count)
    ]


QUERY = Query(text="a red mug", image=Image.new("RGB", (32, 32), "red"))


def reranker(server, **options):
    return ServerReranker(**{"url": server.url, "model": "tiny", "timeout_seconds": NEVER, **options})


def order(judgement, count=9):
    """The order when the model alone decides, from 1, and the repairs."""
    arranged = arrange(judgement, [1 - place / 50 for place in range(count)], weight=1, lift=count)
    return [place + 1 for place in arranged.positions], dict(arranged.repairs)


def test_a_server_that_honours_the_schema_is_believed(model_server):
    model_server.will("obey")
    judgement = reranker(model_server).rerank(QUERY, candidates())
    assert order(judgement) == ([9, 8, 7, 6, 5, 4, 3, 2, 1], {})
    assert (judgement.caption, judgement.reason) == ("The caption.", "The reason.")
    assert len(model_server.requests) == 1


@pytest.mark.parametrize(
    ("content", "first", "repairs"),
    [
        ('{"ranking": [3, 1, 2, 4]}', [3, 1, 2, 4], {}),
        ('Sure!\n```json\n{"ranking": [3, 1, 2, 4], "reason": "No."}\n```', [3, 1, 2, 4], {}),
        ('{"ranking": "3, 1, 2, 4"}', [3, 1, 2, 4], {}),
        ("Ranked list: [3, 1, 2, 4]", [3, 1, 2, 4], {}),
        ('<think>Maybe {"ranking": [1, 2, 3, 4]}?</think>{"ranking": [3, 1, 2, 4]}', [3, 1, 2, 4], {}),
        ('{"ranking": [3, 1', [3, 1, 2, 4], {"missing": 2}),
        ('{"ranking": [3, 3, 7, 1]}', [3, 1, 2, 4], {"repeated": 1, "unknown": 1, "missing": 2}),
        ('{"ranking": [null, {}, "x", 3, 1]}', [3, 1, 2, 4], {"unreadable": 3, "missing": 2}),
        ("I cannot help with that.", [1, 2, 3, 4], {"missing": 4}),
        ("", [1, 2, 3, 4], {"missing": 4}),
    ],
)
def test_a_server_that_ignores_the_schema_is_read_and_mended(model_server, content, first, repairs):
    model_server.will("write", content=content)
    assert order(reranker(model_server).rerank(QUERY, candidates(4)), 4) == (first, repairs)


@pytest.mark.parametrize("step", ["parts", "silent"])
def test_content_in_parts_is_read_and_none_at_all_changes_nothing(model_server, step):
    model_server.will(step, content='{"ranking": [2, 1]}')
    found, _ = order(reranker(model_server).rerank(QUERY, candidates(2)), 2)
    assert found == ([2, 1] if step == "parts" else [1, 2])


def test_what_cannot_be_stored_or_shown_is_taken_out(model_server):
    said = '{"ranking": [2, 1], "reason": "Red\\u0000\\n\\ud800 as asked. More.", "caption": 5} \0 \ud800'
    model_server.will("write", content=said)
    judgement = reranker(model_server).rerank(QUERY, candidates(2))
    assert (judgement.reason, judgement.caption) == ("Red as asked.", "")
    assert "\0" not in judgement.raw
    assert judgement.raw.encode()


def test_the_question_has_one_picture_by_value_and_room_for_the_answer(model_server):
    for count in (2, 9):
        model_server.will("obey")
        reranker(model_server).rerank(QUERY, candidates(count))
        [asked] = model_server.requests
        assert asked["path"] == "/v1/chat/completions"
        assert "Authorization" not in asked["headers"]
        [message] = asked["question"]["messages"]
        picture, words = message["content"]
        kind, _, encoded = picture["image_url"]["url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        sheet = Image.open(io.BytesIO(base64.b64decode(encoded)))
        assert sheet.size == ((1200, 900) if count == 9 else (900, 300))
        assert '"a red mug"' in words["text"]
        longest = json.dumps({"ranking": list(range(1, count + 1)), "reason": "", "caption": ""})
        assert asked["question"]["max_tokens"] > len(longest) / 2 + 100


def test_options_decide_what_is_asked(model_server):
    plain = {"structured": "none", "caption": False, "reason": False, "titles": False}
    model_server.will("write", content="[1]")
    reranker(model_server, **plain, parameters={"max_tokens": None, "seed": 1}).rerank(
        QUERY, candidates(text="a secret mug")
    )
    [asked] = model_server.requests
    assert set(asked["question"]) == {"model", "messages", "seed"}
    assert "secret" not in json.dumps(asked)
    assert reranker(model_server, **plain).prompt_version != reranker(model_server).prompt_version


@given(title=st.text())
def test_a_title_is_one_quoted_line_whatever_is_in_it(title):
    asked = ServerReranker(url="http://localhost/v1", model="tiny")._question(
        Query(text=title), candidates(2, title)
    )
    lines = asked["messages"][0]["content"][1]["text"].splitlines()
    titled = [line for line in lines if re.match(r"\d\. ", line)]
    assert len(titled) == 2
    assert all(re.fullmatch(r'\d\. "[^"<>{}\[\]|]*"', line) for line in titled)
    assert len(lines) == (8 if title else 7)


def test_threads_share_one_reranker(model_server):
    model_server.will("obey")
    shared = reranker(model_server)
    with ThreadPoolExecutor(8) as pool:
        judged = list(pool.map(lambda count: shared.rerank(QUERY, candidates(count)), range(2, 10)))
    assert [len(judgement.labels) for judgement in judged] == list(range(2, 10))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["choices", "message", "content", "error", "ranking"]), inner)
    ),
)
COMPLETION = st.builds(
    lambda content: {"choices": [{"message": {"content": content}}]}, JSON | JSON.map(json.dumps)
)


@settings(max_examples=60)
@given(body=JSON | COMPLETION)
def test_any_json_is_a_judgement_or_an_error_of_the_reranker(model_server_process, body):
    model_server_process.will("write", body=body)
    try:
        judgement = reranker(model_server_process, retries=0).rerank(QUERY, candidates(3))
    except RerankerError:
        return
    assert sorted(order(judgement, 3)[0]) == [1, 2, 3]
    assert isinstance(judgement.caption + judgement.reason + judgement.raw, str)


@pytest.fixture
def queued(model_server, settings, db):
    """A rerank of two products that waits for a worker, whose reranker is the server."""
    options = {"url": model_server.url, "model": "tiny", "timeout_seconds": 0.5}
    backend = {"BACKEND": "shopsearch.rerankers.server.ServerReranker", "OPTIONS": options}
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "RERANKER": backend, "RERANK_WEIGHT": 1}
    for number in (1, 2):
        content = io.BytesIO()
        Image.new("RGB", (32, 32), (250 - 50 * number, 30, 30)).save(content, "PNG")
        product = Product.objects.create(title=f"mug {number}")
        ProductImage.objects.create(product=product, image=ContentFile(content.getvalue(), "mug.png"))
    index = index_for(ProductImage)
    Change.objects.note_all(index)
    list(batch.index_pending())
    return reranking.request(index, search("red"))


@pytest.mark.parametrize(
    ("step", "state"), [("write", "done"), ("hang", "failed"), ("500", "failed"), ("cut_off", "failed")]
)
def test_a_rerank_ends_done_or_failed_and_keeps_what_the_server_said(model_server, queued, step, state):
    said = '{"ranking": [2, 1], "reason": "It is red.\\u0000"} \ud800'
    model_server.will(step, content=said)
    before = [candidate["product"] for candidate in queued.candidates]
    assert reranking.answer_next()
    queued.refresh_from_db()
    assert queued.state == state
    assert queued.order == (before[::-1] if state == "done" else [])
    assert queued.error.startswith("RerankerError: " if state == "failed" else "")
    assert queued.reason == ("It is red." if state == "done" else "")


def test_a_real_server_that_ignores_the_schema_and_a_model_that_knows_nothing(transformers_serve):
    served = ServerReranker(
        url=transformers_serve.url, model=transformers_serve.folder, timeout_seconds=NEVER
    )
    found, _ = order(served.rerank(QUERY, candidates()))
    assert sorted(found) == list(range(1, 10))
