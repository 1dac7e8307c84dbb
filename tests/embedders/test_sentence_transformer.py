"""Multimodal models of sentence-transformers: one that reads pairs, one that does not, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.core.exceptions import ImproperlyConfigured
from safetensors.torch import load_file, save_file

from shopsearch.embedders.sentence_transformer import SentenceTransformerEmbedder
from shopsearch.embedders.two_tower.embedder import TwoTower
from shopsearch.types import Query
from tests.embedders.contract import EmbedderContract, mixed_queries, picture
from tests.embedders.two_tower import models as two_tower_models
from tests.rerankers import tiny_models

TRIO = [Query(text="mug"), Query(image=picture(1)), Query(text="mug", image=picture(1))]


def saved(plain: Path, folder: Path) -> Path:
    """A model of transformers, as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(plain), device="cpu", local_files_only=True).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads words and pictures, and no pairs."""
    from transformers import CLIPImageProcessorPil, CLIPProcessor, PreTrainedTokenizerFast

    path = two_tower_models.make("clip", tmp_path_factory.mktemp("clip"))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(path / "tokenizer.json"), model_max_length=77, **special
    )
    size = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    CLIPProcessor(CLIPImageProcessorPil(**size), tokenizer).save_pretrained(path)
    return saved(path, path / "saved")


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads words and pictures together."""
    path = tiny_models.make("gemma3", tmp_path_factory.mktemp("gemma"))
    state = load_file(path / "model.safetensors")
    (projection,) = (key for key in state if key.endswith("mm_input_projection_weight"))
    # Zero as it comes, so that all pictures are one.
    state[projection] = torch.randn(state[projection].shape, generator=torch.Generator().manual_seed(0))
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    return saved(path, path / "saved")


class TestClip(EmbedderContract):
    backend = "shopsearch.embedders.sentence_transformer.SentenceTransformerEmbedder"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def of_the_folder(cls, clip: Path) -> None:
        cls.options = {"model": str(clip)}


class TestGemma(EmbedderContract):
    backend = "shopsearch.embedders.sentence_transformer.SentenceTransformerEmbedder"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def of_the_folder(cls, gemma: Path) -> None:
        cls.options = {"model": str(gemma)}


def embedder(folder: Path, **options: Any) -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder(model=str(folder), **options)


@pytest.fixture
def folder(clip: Path, tmp_path: Path) -> Path:
    """CLIP's files, to be changed."""
    for file in clip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_a_clip_gives_the_vectors_that_it_gives_without_sentence_transformers(clip):
    ours = TwoTower(model=str(clip), text_weight=0.3).embed(TRIO)
    np.testing.assert_allclose(embedder(clip, text_weight=0.3).embed(TRIO), ours, atol=1e-5)


def test_a_model_that_reads_pairs_is_given_them_whole(gemma):
    words, image, pair = embedder(gemma).embed(TRIO)
    _, _, weighed = embedder(gemma, text_weight=0.9).embed(TRIO)
    np.testing.assert_array_equal(pair, weighed)
    mean = (words + image) / np.linalg.norm(words + image)
    assert np.abs(pair - mean).max() > 1e-3


def test_the_prompt_comes_before_words_and_not_before_a_picture_alone(clip):
    words, image, _ = embedder(clip).embed(TRIO)
    prompted, same_image, _ = embedder(clip, prompt="a photo of ").embed(TRIO)
    (spelt,) = embedder(clip).embed([Query(text="a photo of mug")])
    np.testing.assert_allclose(prompted, spelt, atol=1e-6)
    np.testing.assert_array_equal(image, same_image)
    assert np.abs(prompted - words).max() > 1e-3


def test_its_space_follows_its_files_and_options_and_not_the_place(clip, folder):
    assert embedder(folder).space == embedder(clip).space
    spaces = {embedder(clip).space, embedder(clip, text_weight=0.4).space, embedder(clip, prompt="a").space}
    state = load_file(folder / "model.safetensors")
    state["text_projection.weight"] += 0.01
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    spaces.add(embedder(folder).space)
    config = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps({**config, "more": 1}))
    spaces.add(embedder(folder).space)
    assert len(spaces) == 5


# What is refused


def problems(folder: Path | str, **options: Any) -> list[str]:
    return [message.msg for message in SentenceTransformerEmbedder(model=str(folder), **options).check()]


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        embedder(folder, **options).embed(mixed_queries(3))
    return str(caught.value)


def test_weights_that_may_hide_code_are_refused_and_the_check_sees_it(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "has no weights as safetensors" in refusal(folder)
    assert len(problems(folder)) == 1


def test_a_module_of_the_models_own_code_is_not_run(folder, tmp_path):
    (folder / "own.py").write_text(f"open({str(tmp_path / 'it ran')!r}, 'w')\nclass Transformer: pass\n")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([{**modules[0], "type": "own.Transformer"}]))
    assert "are not a model of sentence-transformers" in refusal(folder)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("kept", [5, -1])
def test_truncated_weights_are_refused_and_the_check_sees_it(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert "truncated" in refusal(folder)
    assert len(problems(folder)) == 1


def test_another_number_than_the_models_is_refused_with_what_to_set(clip):
    assert 'its vectors have 40 numbers, not 41: set OPTIONS["numbers"]' in refusal(clip, numbers=41)


def test_files_that_do_not_say_how_many_numbers_a_vector_has_are_refused(folder):
    (folder / "config.json").write_text("{}")
    assert 'set OPTIONS["numbers"]' in problems(folder)[0]


def test_options_that_cannot_be_are_seen_by_the_check(clip):
    assert len(problems(clip, text_weight=2)) == 1
    assert len(problems(clip, weights="x.safetensors")) == 1
    assert "Name the model" in problems("")[0]
