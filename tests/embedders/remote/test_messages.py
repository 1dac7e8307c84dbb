"""What web processes and query workers write to each other, and what they do with anything else."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shopsearch.embedders.remote.messages import (
    BadMessage,
    read_reply,
    read_request,
    write_refusal,
    write_request,
    write_vectors,
)
from shopsearch.embedders.remote.worker import QueryWorker
from shopsearch.exceptions import EmbedderError, EmptyQuery, QueryError
from shopsearch.types import Query

UNIT = np.eye(96, dtype=np.float32)[:1]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "space",
                    "queries",
                    "text",
                    "image",
                    "width",
                    "height",
                    "pixels",
                    "vectors",
                    "error",
                    "refused",
                ]
            ),
            inner,
        )
    ),
)


@given(st.lists(st.text(), min_size=1, max_size=3), st.integers(1, 9), st.integers(1, 9))
def test_a_request_is_read_as_it_was_written(texts, width, height):
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    queries = [Query(text=text, image=image) for text in texts] + [Query(text=texts[0])]
    content = write_request("colour", queries)
    assert json.loads(content)["space"] == "colour"
    read = read_request(content, "colour").queries
    assert [query.text for query in read] == [query.text for query in queries]
    assert all(query.image.tobytes() == image.tobytes() for query in read[:-1])
    assert (read[0].image.size, read[-1].image) == ((width, height), None)


@given(st.integers(0, 2**32))
def test_vectors_arrive_to_the_last_bit(seed):
    vectors = np.random.default_rng(seed).normal(size=(3, 96))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    read = read_reply(write_vectors("colour", vectors), "colour", count=3, dimension=96)
    np.testing.assert_array_equal(read, vectors)
    assert read.dtype == np.float32


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused_on_either_side(content):
    with pytest.raises(BadMessage):
        read_request(content, "colour")
    with pytest.raises((EmbedderError, QueryError)):
        read_reply(content, "colour", count=1, dimension=96)


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_refusal_is_in_the_language_of_who_asks_whatever_the_workers_is(language):
    worker = QueryWorker(embedder=SimpleNamespace(space="colour"), requests=None, batch_size=1)
    with translation.override("es"):
        reply = worker._refusal(EmptyQuery())
    with translation.override(language), pytest.raises(QueryError) as refused:
        read_reply(reply, "colour", count=1, dimension=96)
    with translation.override(language):
        assert str(refused.value) == str(EmptyQuery())
        assert str(refused.value).startswith("Type" if language == "en" else "Escribe")


def test_what_the_asker_can_mend_is_told_apart_from_what_the_worker_cannot_do():
    with pytest.raises(QueryError, match="Add a picture"):
        read_reply(
            write_refusal("colour", "Add a picture.", is_the_callers=True), "colour", count=1, dimension=96
        )
    with pytest.raises(EmbedderError, match="its log says why"):
        read_reply(write_refusal("colour", "its log says why."), "colour", count=1, dimension=96)


def request_of(**query):
    return json.dumps({"space": "colour", "queries": [query]}).encode()


def image_of(width, height, pixels="AAAA"):
    return {"width": width, "height": height, "pixels": pixels}


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"\x80\x04pickle",
        json.dumps({"space": "colour", "queries": []}).encode(),
        request_of(text=7),
        request_of(text="x" * 100_001),
        request_of(text="", image=image_of(0, 0, "")),
        request_of(text="", image=image_of(True, 1)),
        request_of(text="", image=image_of(1, 1, "AAAAAAAA")),
        request_of(text="", image=image_of(2, 1)),
        request_of(text="", image=image_of(10**9, 10**9)),
        request_of(text="", image=image_of(1, 1, "not base64")),
        write_request("another", [Query(text="red")]),
    ],
    ids=lambda content: repr(content[:70]),
)
def test_a_request_that_lies_is_refused(content):
    with pytest.raises(BadMessage):
        read_request(content, "colour")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"space": "colour", "vectors": [["AAAA"]]}',
        b'{"space": "colour", "vectors": ["AAA"]}',
        write_vectors("another", UNIT),
        write_vectors("colour", UNIT[:, :95]),
        write_vectors("colour", np.concatenate([UNIT, UNIT])),
        write_vectors("colour", UNIT * np.nan),
        write_vectors("colour", UNIT * 2),
        write_refusal("colour", "The model is broken."),
    ],
    ids=lambda reply: repr(reply[:40]),
)
def test_an_answer_that_is_not_the_vectors_asked_for_is_an_error_of_the_embedder(reply):
    with pytest.raises(EmbedderError, match="query worker"):
        read_reply(reply, "colour", count=1, dimension=96)


def test_a_reply_that_is_longer_than_any_is_not_even_parsed(monkeypatch):
    monkeypatch.setattr(json, "loads", lambda content: pytest.fail("it was parsed"))
    with pytest.raises(EmbedderError, match="100,000 bytes"):
        read_reply(b"[" * 100_000, "colour", count=1, dimension=96)
