"""CLIP and SigLIP from a folder: what they answer, and what their space depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from shopsearch.embedders import torch_model, weights
from shopsearch.embedders.two_tower.embedder import TwoTower
from shopsearch.exceptions import EmbedderError
from shopsearch.types import Query
from tests.embedders.contract import EmbedderContract, mixed_queries, picture
from tests.embedders.two_tower import models as two_tower_models


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_tower_models.make("clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_tower_models.make("siglip", tmp_path_factory.mktemp("siglip"))


class TestClip(EmbedderContract):
    backend = "shopsearch.embedders.two_tower.TwoTower"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def folder(cls, clip: Path) -> None:
        cls.options = {"model": str(clip)}


class TestSiglip(EmbedderContract):
    backend = "shopsearch.embedders.two_tower.TwoTower"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def folder(cls, siglip: Path) -> None:
        cls.options = {"model": str(siglip), "text_weight": 0.3}


@pytest.fixture
def folder(clip: Path, tmp_path: Path) -> Path:
    """CLIP's files, to be changed."""
    for file in clip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def embed(folder: Path, **options: Any) -> Any:
    return TwoTower(model=str(folder), **options).embed(mixed_queries(3))


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# Pairs


def test_a_pair_is_the_weighed_mean_of_both_unit_vectors(clip):
    queries = [Query(text="mug"), Query(image=picture(1)), Query(text="mug", image=picture(1))]
    for weight in (0.5, 0.2):
        words, image, pair = TwoTower(model=str(clip), text_weight=weight).embed(queries)
        mean = weight * words + (1 - weight) * image
        np.testing.assert_allclose(pair, mean / np.linalg.norm(mean), atol=1e-6)


def test_a_weight_of_nothing_or_all_leaves_the_picture_or_the_words(clip):
    queries = [Query(text="mug"), Query(image=picture(1)), Query(text="mug", image=picture(1))]
    _, image, pair = TwoTower(model=str(clip), text_weight=0).embed(queries)
    np.testing.assert_allclose(pair, image, atol=1e-6)
    words, _, pair = TwoTower(model=str(clip), text_weight=1).embed(queries)
    np.testing.assert_allclose(pair, words, atol=1e-6)


# Pictures


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_a_reduced_picture_has_the_same_vector(family, clip, siglip):
    embedder = TwoTower(model=str(clip if family == "clip" else siglip))
    image = picture(1, (190, 70))
    reduced = embedder.reduced(image)
    assert (reduced.size, embedder.reduced(reduced).tobytes()) == ((64, 64), reduced.tobytes())
    whole, small = embedder.embed([Query(image=image), Query(image=reduced)])
    np.testing.assert_array_equal(whole, small)


def test_a_picture_whose_square_would_change_again_is_not_reduced(folder):
    change(folder / "preprocessor_config.json", size={"shortest_edge": 80}, crop_size=64)
    image = picture(1, (190, 70))
    assert TwoTower(model=str(folder)).reduced(image) is image


# Texts


def test_what_is_beyond_the_limit_does_not_count_and_the_closing_token_does(clip):
    read, beyond = "a" * 75, "a" * 75 + "zzz"
    vectors = TwoTower(model=str(clip)).embed([Query(text=read), Query(text=beyond), Query(text="a" * 74)])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-4


def test_siglip_2_sees_lower_case_and_its_own_filler(siglip, tmp_path):
    for file in siglip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GemmaTokenizer", "pad_token": "<|startoftext|>"})
    )
    embedder = TwoTower(model=str(tmp_path))
    assert embedder.folder.tokens.filler == 256
    capitals, small = embedder.embed([Query(text="MUG"), Query(text="mug")])
    np.testing.assert_array_equal(capitals, small)
    assert np.abs(small - TwoTower(model=str(siglip)).embed([Query(text="mug")])[0]).max() > 1e-4
    capitals, small = TwoTower(model=str(siglip)).embed([Query(text="MUG"), Query(text="mug")])
    assert np.abs(capitals - small).max() > 1e-4


# The model


def test_it_is_loaded_once_however_many_queries_come(clip, monkeypatch):
    loads = []
    monkeypatch.setattr(
        torch_model, "load_weights", lambda path: loads.append(path) or weights.load_weights(path)
    )
    embedder = TwoTower(model=str(clip))
    assert loads == []
    for _ in range(3):
        embedder.embed(mixed_queries(2))
    assert loads == [clip / "model.safetensors"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_unit_vectors(clip, dtype):
    vectors = embed(clip, dtype=dtype)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert ((vectors * embed(clip)).sum(1) > 0.999).all()


def test_torch_running_out_of_memory_is_an_embedder_error(clip, monkeypatch):
    embedder = TwoTower(model=str(clip))
    model, _ = embedder._loaded

    def run_out(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "text_features", run_out)
    with pytest.raises(EmbedderError, match="out of memory"):
        embedder.embed([Query(text="mug")])


def test_positions_in_an_older_file_are_counted_anew(folder, clip):
    state = load_file(folder / "model.safetensors")
    state["text_model.embeddings.position_ids"] = torch.full((1, 77), 139799542691464)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_array_equal(embed(folder), embed(clip))


def test_a_checkpoint_of_torch_gives_the_same_vectors(folder, clip):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    np.testing.assert_array_equal(embed(folder), embed(clip))


def test_the_processors_newer_file_says_the_same(folder, clip):
    said = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": said}))
    np.testing.assert_array_equal(embed(folder), embed(clip))


# Its space


def test_the_space_is_the_models_not_the_places(folder, clip):
    assert TwoTower(model=str(folder)).space == TwoTower(model=str(clip)).space


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("preprocessor_config.json", {"image_mean": [0.5, 0.5, 0.5]}),
        ("preprocessor_config.json", {"size": {"height": 64, "width": 64}}),
        ("preprocessor_config.json", {"resample": 2}),
        ("config.json", {"text_config": {**two_tower_models.TEXT, "vocab_size": 258, "eos_token_id": 2}}),
    ],
    ids=["means", "squashed", "resampled", "another closing id"],
)
def test_the_space_changes_with_the_configuration(folder, clip, name, changes):
    change(folder / name, **changes)
    assert TwoTower(model=str(folder)).space != TwoTower(model=str(clip)).space


def test_the_space_changes_with_the_weights_the_tokenizer_and_the_weight_of_words(folder, clip):
    spaces = {TwoTower(model=str(clip)).space, TwoTower(model=str(clip), text_weight=0.4).space}
    change(folder / "tokenizer.json", normalizer={"type": "Lowercase"})
    spaces.add(TwoTower(model=str(folder)).space)
    state = load_file(folder / "model.safetensors")
    state["text_projection.weight"] += 0.01
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    spaces.add(TwoTower(model=str(folder)).space)
    assert len(spaces) == 4
