"""MagicLens: what it answers and refuses, and how its authors' file becomes a folder."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file

from shopsearch.embedders.magiclens import flax
from shopsearch.embedders.magiclens.conversion import convert
from shopsearch.embedders.magiclens.embedder import MagicLens
from shopsearch.exceptions import QueryError
from shopsearch.types import Query
from tests.embedders import contract as embedder_contract
from tests.embedders.contract import EmbedderContract, mixed_queries, picture
from tests.embedders.magiclens import files as magiclens_files
from tests.embedders.magiclens import flax_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return magiclens_files.make(tmp_path_factory.mktemp("magiclens"))


def with_pictures(count: int) -> list[Query]:
    """The contract's queries, of which those without a picture get one."""
    queries = mixed_queries(count)
    return [
        Query(text=query.text, image=query.image or picture(place)) for place, query in enumerate(queries)
    ]


class TestMagicLens(EmbedderContract):
    backend = "shopsearch.embedders.magiclens.MagicLens"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def of_the_folder(cls, folder: Path) -> Iterator[None]:
        cls.options = {"model": str(folder)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embedder_contract, "mixed_queries", with_pictures)
            yield

    def test_words_pictures_and_both_are_told_apart(self, embedder):
        red = Image.new("RGB", (64, 64), "red")
        queries = [Query(image=red), Query(text="blue", image=red), Query(image=picture(1))]
        cosines = embedder.embed(queries) @ embedder.embed(queries).T
        assert (cosines[np.triu_indices(3, 1)] < 1 - 1e-4).all()

    @pytest.mark.parametrize("with_picture", [True], ids=["beside a picture"])
    def test_a_text_of_thousands_of_words_is_truncated(self, embedder, with_picture):
        super().test_a_text_of_thousands_of_words_is_truncated(embedder, with_picture)


def test_words_alone_are_refused_with_what_to_do(folder):
    with pytest.raises(QueryError, match="needs a picture; add one"):
        MagicLens(model=str(folder)).embed([Query(image=picture(1)), Query(text="mug")])


def test_a_black_picture_has_a_vector(folder):
    (vector,) = MagicLens(model=str(folder)).embed([Query(image=Image.new("RGB", (30, 20)))])
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_unit_vectors(folder, dtype):
    vectors = MagicLens(model=str(folder), dtype=dtype).embed(with_pictures(3))
    full = MagicLens(model=str(folder)).embed(with_pictures(3))
    assert ((vectors * full).sum(1) > 0.999).all()


# The authors' file


@pytest.fixture
def parts(folder: Path) -> tuple[Path, Path]:
    """The authors' file and the tokenizer that ``folder`` was made of."""
    return folder.parent / "magic_lens_clip.pkl", folder.parent / "tokenizer.json"


def test_the_shape_is_read_off_the_file(folder):
    config = json.loads((folder / "config.json").read_text())
    assert (config["projection_dim"], config["heads"], config["layers"]) == (32, 4, 2)
    assert config["vision_config"]["image_size"] == 64
    assert (config["text_config"]["num_attention_heads"], config["text_config"]["hidden_size"]) == (3, 48)


def test_converting_twice_gives_the_same_space(parts, folder, tmp_path):
    convert(*parts, tmp_path / "again")
    assert MagicLens(model=str(tmp_path / "again")).space == MagicLens(model=str(folder)).space


def refusal(source: Path, parts: tuple[Path, Path]) -> str:
    target = source.parent / "converted"
    with pytest.raises(ImproperlyConfigured) as caught:
        convert(source, parts[1], target)
    assert not target.exists()
    return str(caught.value)


def test_a_pickle_that_wants_code_to_run_is_refused_and_runs_nothing(tmp_path, parts):
    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "it ran"),)

    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Payload()))
    assert "more than bytes, which is never loaded" in refusal(tmp_path / "x.pkl", parts)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("kept", [0, 5, 20_000, -1])
def test_a_truncated_file_is_refused(tmp_path, parts, kept):
    (tmp_path / "x.pkl").write_bytes(parts[0].read_bytes()[:kept])
    assert "truncated" in refusal(tmp_path / "x.pkl", parts)


def nested_extensions() -> bytes:
    value = b""
    for _ in range(2_000):
        value = b"\xc9" + len(value).to_bytes(4, "big") + b"\x01" + value
    return value


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (pickle.dumps({"params": 1}), "hold a dict, not flax's bytes"),
        (pickle.dumps(b""), "not a tree of arrays as flax writes it"),
        (pickle.dumps(b"\x91" * 5000), "not a tree of arrays"),
        (pickle.dumps(nested_extensions()), "not a tree of arrays"),
        (pickle.dumps(b"\xdf\xff\xff\xff\xff"), "not a tree of arrays"),
        (pickle.dumps(b"\x81\xa1a\xc1"), "not a tree of arrays"),
        (pickle.dumps(b"\x81\xa1a\xd4\x05x"), "an extension of kind 5"),
        (pickle.dumps(flax_files.packed({"a": "b"})), "a is not an array"),
        (pickle.dumps(flax_files.packed({"a": np.zeros(3, np.int64)})), "numbers of type int64"),
        (pickle.dumps(flax_files.packed({"a": np.zeros(3)})), "are not a MagicLens"),
        (b"<html>Sign in</html>", "more than bytes"),
    ],
    ids=[
        *("no bytes", "empty", "deep", "deep extensions", "endless", "no value", "extension"),
        *("words", "integers", "another model", "a page"),
    ],
)
def test_something_else_is_refused_with_a_sentence(tmp_path, parts, content, sentence):
    (tmp_path / "x.pkl").write_bytes(content)
    assert sentence in refusal(tmp_path / "x.pkl", parts)


def test_arrays_that_do_not_belong_to_it_are_refused(tmp_path, parts):
    extra = {**magiclens_files.arrays(), "clip/text/adapter/kernel": np.zeros(3, np.float32)}
    assert "clip/text/adapter/kernel does not belong to it" in refusal(
        flax_files.write(tmp_path / "x.pkl", extra), parts
    )


@given(content=st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.pkl"
    path.write_bytes(pickle.dumps(content))
    with suppress(ImproperlyConfigured):
        flax.read(path)


@pytest.mark.parametrize("form", ["float16", "float32", "float64"])
def test_numbers_of_any_precision_are_read_as_float32(tmp_path, form):
    array = np.arange(6, dtype=form).reshape(2, 3)
    read = flax.read(flax_files.write(tmp_path / "x.pkl", {"a/b": array}))
    np.testing.assert_array_equal(read["params/a/b"], array.astype(np.float32))


# Folders


def problems(path: Path | str) -> list[str]:
    return [message.msg for message in MagicLens(model=str(path)).check()]


def test_no_folder_and_another_models_folder_are_told_what_to_do(tmp_path, folder):
    assert "shopsearch_models convert" in problems("")[0]
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    assert "is not of a MagicLens" in problems(tmp_path)[0]
    (tmp_path / "config.json").write_text('{"model_type": "magiclens"}')
    assert "does not describe a MagicLens" in problems(tmp_path)[0]
    (tmp_path / "config.json").unlink()
    assert "has no config.json" in problems(tmp_path)[0]


def test_weights_that_lack_a_tensor_are_refused_by_name(tmp_path, folder):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(folder / "model.safetensors")
    del state["pool_query"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ImproperlyConfigured, match="1 tensors are missing, the first is pool_query"):
        MagicLens(model=str(tmp_path)).embed([Query(image=picture(1))])
