"""Marqo's e-commerce models: OpenCLIP's SigLIP, against outputs of its own code on weights that a rule generates.

open_clip_siglip.json says how they were made. The real weights and their tokenizer were never seen here.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file

from shopsearch.backends import get_embedder
from shopsearch.embedders.two_tower import open_clip
from shopsearch.embedders.two_tower.embedder import TwoTower
from shopsearch.types import Query
from tests.embedders.contract import mixed_queries, picture
from tests.embedders.two_tower import open_clip_models
from tests.embedders.two_tower.open_clip_models import CASE, NAME, TRUNK
from tests.embedders.two_tower.test_folder import Hub

TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_clip_models.make(tmp_path_factory.mktemp("marqo"))


@pytest.fixture
def small_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's name stands for a vision tower of the case's size."""
    monkeypatch.setitem(open_clip.TRUNKS, TRUNK, CASE["trunk"])


@pytest.fixture
def embedder(published: Path, small_trunk: None, settings: Any) -> TwoTower:
    """As a project gets it: by its setting."""
    backend = "shopsearch.embedders.two_tower.TwoTower"
    settings.SHOPSEARCH = {"EMBEDDER": {"BACKEND": backend, "OPTIONS": {"model": str(published)}}}
    built = get_embedder()
    assert isinstance(built, TwoTower)
    assert built.check() == []
    return built


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    with np.load(Path(__file__).with_name("open_clip_siglip.npz")) as arrays:
        return dict(arrays)


def query(key: str) -> Query:
    kind, _, name = key.partition("/")
    if kind == "text":
        return Query(text=CASE["texts"][name])
    seed, size = CASE["pictures"][name]
    return Query(image=picture(seed, tuple(size)))


# The vectors


def test_every_vector_is_open_clips_with_each_query_alone(embedder, expected):
    assert {key.split("/")[0] for key in expected} == {"text", "image"}
    for key, vector in expected.items():
        np.testing.assert_allclose(
            embedder.embed([query(key)])[0], vector, atol=TOLERANCE, rtol=0, err_msg=key
        )


def test_every_vector_is_open_clips_with_all_queries_in_one_mixed_batch(embedder, expected):
    keys = sorted(expected, key=lambda key: key[::-1])
    vectors = embedder.embed([query(key) for key in keys])
    np.testing.assert_allclose(vectors, [expected[key] for key in keys], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
@pytest.mark.usefixtures("small_trunk")
def test_open_clips_own_files_give_the_same_vectors(published, name):
    queries = mixed_queries(3)
    named = TwoTower(model=str(published), weights=str(published / name))
    np.testing.assert_array_equal(named.embed(queries), TwoTower(model=str(published)).embed(queries))


@pytest.mark.usefixtures("small_trunk")
def test_the_name_on_the_hub_is_enough(published, tmp_path, monkeypatch):
    import huggingface_hub

    hub = Hub(published, tmp_path / "here")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    queries = mixed_queries(3)
    named = TwoTower(model=NAME)
    np.testing.assert_array_equal(named.embed(queries), TwoTower(model=str(published)).embed(queries))
    assert not (hub.here / "open_clip_model.safetensors").exists()


# Texts


def test_texts_are_cleaned_as_open_clip_does(embedder):
    for name, text in CASE["texts"].items():
        assert embedder.folder.prepared(text) == CASE["cleaned"][name], name


@given(st.text() | st.from_regex(r"(&(amp;)?#x?[0-9a-f]{1,12};? ?)+", fullmatch=True))
@example("&#" + "9" * 5_000 + ";")
@example("&amp;#" + "9" * 5_000 + ";")
def test_any_text_can_be_cleaned_and_is_clean_then(text):
    cleaned = open_clip.canonical(text)
    assert not set(cleaned) & set(string.punctuation)
    assert cleaned == " ".join(cleaned.split())


def test_the_token_ids_are_open_clips_and_nothing_but_fillers_follows(embedder):
    _, tokenizer = embedder._loaded
    assert (embedder.folder.tokens.limit, embedder.folder.tokens.filler) == (64, 257)
    for name, ids in CASE["token_ids"].items():
        found = tokenizer.encode(embedder.folder.prepared(CASE["texts"][name])).ids
        assert [*found[:63], found[-1]][: len(found)] == ids, name


# The conversion


def test_every_number_of_the_file_is_in_the_model(embedder, published):
    model, _ = embedder._loaded
    theirs = load_file(published / "model.safetensors")
    assert sum(tensor.numel() for tensor in theirs.values()) == sum(
        parameter.numel() for parameter in model.model.parameters()
    )
    assert model.model.logit_scale.item() == theirs["model.logit_scale"].item()
    assert model.model.logit_bias.item() == theirs["model.logit_bias"].item()


@pytest.mark.parametrize(
    ("name", "width", "layers", "side", "numbers"),
    [
        ("vit_base_patch16_siglip_224", 768, 12, 224, 203_155_970),
        ("vit_large_patch16_siglip_256", 1024, 24, 256, 652_150_786),
    ],
)
def test_marqos_sizes_have_as_many_numbers_as_open_clips_own_model(name, width, layers, side, numbers):
    from transformers import SiglipConfig, SiglipModel

    model = json.loads(json.dumps(CASE["open_clip_config"]["model_cfg"]))
    model["embed_dim"] = width
    model["vision_cfg"].update(timm_model_name=name, image_size=side)
    model["text_cfg"].update(width=width, layers=layers, heads=width // 64, vocab_size=32_000)
    with torch.device("meta"):
        built = SiglipModel(SiglipConfig.from_dict(open_clip.configuration({"model_cfg": model})))
    assert sum(parameter.numel() for parameter in built.parameters()) == numbers
