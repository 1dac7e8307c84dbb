"""Visualized BGE with the bundled model: what it answers, and what its space depends on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from shopsearch import conf
from shopsearch.backends import get_embedder
from shopsearch.embedders import torch_model, weights
from shopsearch.embedders.model_folder import BUNDLED
from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE
from shopsearch.exceptions import EmbedderError
from shopsearch.types import Query
from tests.embedders.contract import EmbedderContract, mixed_queries


class TestBundledModel(EmbedderContract):
    backend = "shopsearch.embedders.visualized_bge.VisualizedBGE"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The bundled model's files, to be changed."""
    copy = tmp_path / "model"
    shutil.copytree(BUNDLED, copy)
    return copy


@pytest.fixture
def state() -> dict[str, Any]:
    return load_file(BUNDLED / "model.safetensors")


def embed(**options: Any) -> Any:
    return VisualizedBGE(**options).embed(mixed_queries(3))


# What it is


def test_it_is_what_a_project_gets_that_names_no_embedder_and_has_no_starter(settings, monkeypatch):
    monkeypatch.setattr(conf, "find_spec", lambda package: None)
    settings.SHOPSEARCH = {"EMBEDDER": {"BACKEND": conf.default_embedder()}}
    embedder = get_embedder()
    assert isinstance(embedder, VisualizedBGE)
    assert (embedder.dimension, embedder.check()) == (128, [])


def test_words_of_one_meaning_are_near_in_both_languages():
    english, spanish, other = VisualizedBGE().embed(
        [
            Query(text="leopard phone case"),
            Query(text="funda de teléfono de leopardo"),
            Query(text="red striped mug"),
        ]
    )
    assert english @ spanish > 0.8 > 0.5 > english @ other


def test_the_model_is_loaded_once_however_many_queries_come(monkeypatch):
    loads = []
    monkeypatch.setattr(
        torch_model, "load_weights", lambda path: loads.append(path) or weights.load_weights(path)
    )
    embedder = VisualizedBGE()
    assert loads == []
    for _ in range(3):
        embedder.embed(mixed_queries(2))
    assert loads == [BUNDLED / "model.safetensors"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_unit_vectors(dtype):
    vectors = embed(dtype=dtype)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert ((vectors * embed()).sum(1) > 0.999).all()


def test_compiled_it_gives_the_same_vectors():
    """With the backend that only traces: inductor gave the same to 1e-7, after three minutes of compiling."""
    np.testing.assert_allclose(embed(compile="eager"), embed(), atol=1e-6)


def test_it_sets_torchs_threads_only_where_it_is_told_to():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        embed(threads=0)
        assert torch.get_num_threads() == 2
        embed(threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_torch_running_out_of_memory_is_an_embedder_error(monkeypatch):
    embedder = VisualizedBGE()
    model, _ = embedder._loaded

    def run_out(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "embed_texts", run_out)
    with pytest.raises(EmbedderError, match="out of memory"):
        embedder.embed([Query(text="mug")])


def test_flag_embedding_gives_the_same_vectors_for_words(tmp_path):
    """So that a shop may embed its words with FlagEmbedding's FlagModel, and its pictures with this."""
    from FlagEmbedding import FlagModel
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    config = json.loads((BUNDLED / "config.json").read_text())
    model = BertModel(BertConfig.from_dict(config))
    state = load_file(BUNDLED / "model.safetensors")
    theirs = {
        key.replace("bge_encoder.", "encoder.").replace("bge_embeddings.", "embeddings."): value.float()
        for key, value in state.items()
        if key.startswith("bge_")
    }
    missing, unexpected = model.load_state_dict(theirs, strict=False)
    assert not unexpected
    assert all(key.startswith("pooler.") for key in missing)
    model.save_pretrained(tmp_path)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(BUNDLED / "tokenizer.json"), **special)
    tokenizer.save_pretrained(tmp_path)

    words = [
        "red striped mug",
        "funda de teléfono de leopardo",
        "a",
        "the same but in blue, with hearts on it",
    ]
    flag = FlagModel(str(tmp_path), use_fp16=False, devices="cpu")
    theirs_for_words = flag.encode_corpus(words)
    ours = VisualizedBGE().embed([Query(text=text) for text in words])
    np.testing.assert_allclose(ours, theirs_for_words, atol=1e-6)


# Its space


def test_the_space_is_the_models_not_the_places(folder):
    assert VisualizedBGE(model=str(folder)).space == VisualizedBGE().space


def test_the_space_changes_with_any_one_tensor(folder, state):
    spaces = {VisualizedBGE().space}
    for key in ("visual_proj.bias", "bge_embeddings.word_embeddings.weight", "model_visual.visual.cls_token"):
        changed = {**state, key: state[key] + 0.01}
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        spaces.add(VisualizedBGE(model=str(folder)).space)
        torch.save(changed, folder / "changed.pth")
        spaces.add(VisualizedBGE(model=str(folder), weights=str(folder / "changed.pth")).space)
    assert len(spaces) == 7


@pytest.mark.parametrize(
    "change",
    [
        {"preprocessing": {"size": 84, "mean": [0.5, 0.5, 0.5]}},
        {"image_token_type": False},
        {"layer_norm_eps": 1e-5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_space_changes_with_the_configuration(folder, change):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    changed = VisualizedBGE(model=str(folder))
    assert changed.space != VisualizedBGE().space
    assert np.abs(changed.embed(mixed_queries(3)) - embed()).max() > 0


def test_the_space_changes_with_the_tokenizer(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert VisualizedBGE(model=str(folder)).space != VisualizedBGE().space


def test_a_batch_that_does_not_fit_is_embedded_in_halves_and_the_next_one_too(monkeypatch):
    embedder = VisualizedBGE(batch_size=8)
    queries = [Query(text=f"red mug {number}") for number in range(8)]
    whole = embedder.embed(queries)
    plain, sizes = VisualizedBGE.embed_with, []

    def embed_with(self, model, tokenizer, some):
        sizes.append(min(len(some), self.batch_size))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(self, model, tokenizer, some)

    monkeypatch.setattr(VisualizedBGE, "embed_with", embed_with)
    np.testing.assert_allclose(embedder.embed(queries), whole, atol=1e-5)
    assert embedder.batch_size == 2
    sizes.clear()
    embedder.embed(queries)
    assert sizes == [2]


def test_a_single_query_that_does_not_fit_is_tried_again_later(monkeypatch):
    def embed_with(*args):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(VisualizedBGE, "embed_with", embed_with)
    with pytest.raises(EmbedderError, match="out of memory"):
        VisualizedBGE().embed([Query(text="mug"), Query(text="cup")])
