"""Visualized BGE: the bundled model, and what happens with files that are not right."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.core.exceptions import ImproperlyConfigured
from PIL import Image
from safetensors.torch import load_file, save_file

from shopsearch.backends import get_embedder
from shopsearch.embedders import visualized_bge, weights
from shopsearch.embedders.model_folder import BUNDLED
from shopsearch.embedders.preprocessing import EXTREME_RATIO, Preprocessing
from shopsearch.embedders.visualized_bge import VisualizedBGE
from shopsearch.exceptions import EmbedderError
from shopsearch.types import Query
from tests.embedder_contract import EmbedderContract, mixed_queries, picture


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


def test_it_is_what_a_project_gets_that_names_no_embedder(settings):
    settings.SHOPSEARCH = {}
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
        visualized_bge, "load_weights", lambda path: loads.append(path) or weights.load_weights(path)
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
        {"preprocessing": {"size": 72, "mean": [0.5, 0.5, 0.5]}},
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


# Its files


def test_weights_in_a_file_of_torch_give_the_same_vectors(tmp_path, state):
    torch.save(state, tmp_path / "weights.pth")
    np.testing.assert_array_equal(embed(weights=str(tmp_path / "weights.pth")), embed())


def test_the_authors_unused_tensors_are_accepted(tmp_path, state):
    state["bge_pooler.dense.weight"] = state["model_visual.logit_scale"] = torch.zeros(1)
    state["model_visual.visual.blocks.0.attn.rope.freqs_cos"] = torch.zeros(36, 32)
    state["bge_embeddings.position_ids"] = torch.arange(128)
    torch.save(state, tmp_path / "weights.pth")
    np.testing.assert_array_equal(embed(weights=str(tmp_path / "weights.pth")), embed())


def refusal(**options: Any) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        embed(**options)
    return str(caught.value)


def problems(**options: Any) -> list[str]:
    return [message.msg for message in VisualizedBGE(**options).check()]


def test_weights_that_code_hides_in_are_refused_and_run_nothing(tmp_path):
    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "it ran"),)

    torch.save({"visual_proj.weight": Payload()}, tmp_path / "weights.pth")
    assert "more than tensors" in refusal(weights=str(tmp_path / "weights.pth"))
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("kept", [0, 5, 20_000, -1])
def test_truncated_weights_are_refused_and_the_check_sees_it(tmp_path, state, name, kept):
    path = tmp_path / name
    torch.save(state, path) if name.endswith(".pth") else save_file(state, path)
    path.write_bytes(path.read_bytes()[:kept])
    assert "truncated" in refusal(weights=str(path))
    assert len(problems(weights=str(path))) == 1


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_something_else_in_the_place_of_weights_is_refused(tmp_path, name):
    (tmp_path / name).write_text("<html>Sign in to download this file</html>" * 100)
    assert f"The weights {tmp_path / name}" in refusal(weights=str(tmp_path / name))


def test_missing_weights_are_named_by_the_refusal_and_by_the_check(tmp_path):
    path = str(tmp_path / "nowhere.pth")
    assert path in refusal(weights=path)
    (problem,) = VisualizedBGE(weights=path).check()
    assert problem.id == "shopsearch.E020"
    assert path in problem.msg


def test_a_folder_without_a_tokenizer_is_refused_by_name(folder):
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refusal(model=str(folder))
    assert len(problems(model=str(folder))) == 1


def test_a_folder_that_is_not_there_is_refused_and_not_looked_for_on_the_network():
    assert "There is no folder" in refusal(model="/not/here")
    assert len(problems(model="/not/here")) == 1


def test_a_model_on_the_hub_is_not_looked_up_by_the_check():
    assert problems(model="BAAI/bge-base-en-v1.5") == []


def test_a_model_on_the_hub_that_is_not_here_is_a_clear_refusal_when_offline(monkeypatch, tmp_path):
    import huggingface_hub

    def offline(*args: object, **kwargs: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    assert "cannot be downloaded" in refusal(model="BAAI/bge-base-en-v1.5")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.pop("visual_proj.bias"), "1 tensors are missing, the first is visual_proj.bias"),
        (
            lambda state: state.update(other=torch.zeros(1)),
            "1 tensors do not belong to it, the first is other",
        ),
        (lambda state: state.update({"visual_proj.bias": torch.zeros(9)}), "should be (128,)"),
        (
            lambda state: [state.pop(key) for key in list(state) if key.startswith("model_visual")],
            "hold no vision tower",
        ),
    ],
    ids=["missing", "left over", "another shape", "a text model's"],
)
def test_weights_of_another_architecture_are_refused_with_the_difference(tmp_path, state, change, sentence):
    change(state)
    save_file(state, tmp_path / "weights.safetensors")
    assert sentence in refusal(weights=str(tmp_path / "weights.safetensors"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "gpt2"}, "bert or xlm-roberta, not 'gpt2'"),
        ({"vision": None}, 'no "vision" section'),
        ({"vision": {"patchsize": 12}}, "patchsize"),
        ({"preprocessing": {"sise": 72}}, "sise"),
    ],
    ids=["a text model of another family", "no tower known", "a misspelt tower", "misspelt preprocessing"],
)
def test_a_configuration_of_something_else_is_refused(folder, change, sentence):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    assert sentence in refusal(model=str(folder))


@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"batch_size": 0}, {"threads": -1}], ids=str)
def test_the_check_sees_an_option_that_cannot_be(options):
    assert len(problems(**options)) == 1


# Its pictures


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (72, 72), (74, 500)], ids=str)
def test_a_picture_is_read_from_the_middle_of_its_longer_edge(size):
    image = picture(5, size)
    width, height = size
    shorter = min(size)
    middle = ((width - shorter) // 2, (height - shorter) // 2)
    square = image.crop((*middle, middle[0] + shorter, middle[1] + shorter))
    read = np.asarray(Preprocessing(size=72).square(image), dtype=float)
    resized = np.asarray(square.resize((72, 72), Image.Resampling.BICUBIC), dtype=float)
    assert read.shape == (72, 72, 3)
    assert np.abs(read - resized).mean() < 4


def test_only_the_middle_of_a_very_long_picture_is_resized_and_gives_the_same_pixels():
    """Just inside and just outside of the limit the two ways agree."""
    noise = np.random.default_rng(7).integers(0, 256, (60, 60 * EXTREME_RATIO + 60, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    read = np.asarray(Preprocessing(size=72).square(image), dtype=float)
    whole = image.resize((int(72 * image.width / 60), 72), Image.Resampling.BICUBIC)
    left = round((whole.width - 72) / 2)
    assert np.abs(read - np.asarray(whole.crop((left, 0, left + 72, 72)), dtype=float)).max() <= 1
