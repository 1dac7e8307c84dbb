"""Visualized BGE's files: what is accepted, and what is refused with a sentence."""

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
from safetensors.torch import load_file, save_file

from shopsearch.embedders.model_folder import BUNDLED
from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE
from tests.embedders.contract import mixed_queries


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


def test_a_model_on_the_hub_is_not_looked_up_by_the_check(tmp_path, state):
    save_file(state, tmp_path / "weights.safetensors")
    assert problems(model="BAAI/bge-base-en-v1.5", weights=str(tmp_path / "weights.safetensors")) == []


def test_a_model_on_the_hub_needs_weights_beside_it():
    (problem,) = problems(model="BAAI/bge-base-en-v1.5")
    assert "Name the file of Visualized BGE's weights" in problem


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
