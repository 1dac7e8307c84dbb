"""The files of Marqo's e-commerce models, in OpenCLIP's form: what is refused with a sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.exceptions import ImproperlyConfigured
from safetensors.torch import load_file, save_file

from shopsearch.embedders.two_tower import open_clip
from shopsearch.embedders.two_tower.embedder import TwoTower
from tests.embedders.contract import mixed_queries
from tests.embedders.two_tower import open_clip_models
from tests.embedders.two_tower.open_clip_models import CASE, TRUNK


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_clip_models.make(tmp_path_factory.mktemp("marqo"))


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """The model's files, to be changed."""
    for file in published.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture
def small_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's name stands for a vision tower of the case's size."""
    monkeypatch.setitem(open_clip.TRUNKS, TRUNK, CASE["trunk"])


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        TwoTower(model=str(folder), **options).embed(mixed_queries(3))
    return str(caught.value)


@pytest.mark.parametrize("kept", [0, 5, 20_000, -1])
@pytest.mark.usefixtures("small_trunk")
def test_truncated_weights_are_refused_and_the_check_sees_it(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert "truncated" in refusal(folder)
    assert len(TwoTower(model=str(folder)).check()) == 1


@pytest.mark.usefixtures("small_trunk")
def test_a_checkpoint_that_code_hides_in_is_refused_and_runs_nothing(folder):
    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(folder / "it ran"),)

    path = folder / "open_clip_pytorch_model.bin"
    torch.save({"logit_scale": Payload()}, path)
    assert "more than tensors" in refusal(folder, weights=str(path))
    assert not (folder / "it ran").exists()


POOL = "model.visual.trunk.attn_pool"
HEAD = "model.text.text_projection"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda state: state.pop(f"{HEAD}.bias"), "1 tensors are missing, the first is text_model.head.bias"),
        (
            lambda state: state.pop(f"{POOL}.q.weight"),
            "1 tensors are missing, the first is vision_model.head.attention.in_proj_weight",
        ),
        (
            lambda state: state.update({"model.visual.trunk.cls_token": torch.zeros(1, 1, 48)}),
            "1 tensors do not belong to it, the first is visual.trunk.cls_token",
        ),
        (
            lambda state: state.update({"text.ln_final.bias": state["model.text.ln_final.bias"].clone()}),
            "tensors are missing",
        ),
        (lambda state: state.update({f"{HEAD}.weight": torch.zeros(48, 9)}), "should be (48, 48)"),
        (
            lambda state: state.update({"model.visual.trunk.blocks.0.attn.qkv.weight": torch.zeros(2, 48)}),
            "are not a model of two towers",
        ),
    ],
    ids=[
        "missing",
        "half of a fused one",
        "left over",
        "under two names",
        "another shape",
        "not to be split",
    ],
)
@pytest.mark.usefixtures("small_trunk")
def test_weights_of_another_architecture_are_refused_with_the_difference(folder, spoil, sentence):
    state = load_file(folder / "model.safetensors")
    spoil(state)
    save_file(state, folder / "model.safetensors")
    assert sentence in refusal(folder)


def test_a_model_of_another_size_than_its_name_says_is_refused(folder):
    assert "embed_dim is 48, and only 768 is known here" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda model: model["vision_cfg"].update(timm_model_name="vit_so400m_patch14_siglip_384"),
            "timm_model_name is 'vit_so400m_patch14_siglip_384'; known are vit_base_patch16_siglip_224",
        ),
        (lambda model: model["vision_cfg"].update(timm_proj="linear"), "timm_proj is 'linear'"),
        (lambda model: model["text_cfg"].update(pool_type="argmax"), "pool_type is 'argmax'"),
        (lambda model: model["text_cfg"].pop("tokenizer_kwargs"), "tokenizer_kwargs is None"),
        (
            lambda model: model["text_cfg"].update(act_kwargs={"approximate": "tanh"}),
            "act_kwargs is not known here",
        ),
        (lambda model: model.update(quick_gelu=True), "quick_gelu is not known here"),
        (lambda model: model.pop("text_cfg"), "does not describe a model of two towers"),
        (
            lambda model: model["text_cfg"].update(context_length=float("inf")),
            "does not describe a model of two towers",
        ),
    ],
    ids=["trunk", "projection", "pooling", "cleaning", "activation", "an option", "no text", "no number"],
)
@pytest.mark.usefixtures("small_trunk")
def test_an_open_clip_model_of_another_kind_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    described = json.loads((folder / "open_clip_config.json").read_text())
    change(described["model_cfg"])
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    assert sentence in refusal(folder)
    assert len(TwoTower(model=str(folder)).check()) == 1


def test_a_file_that_nests_without_end_is_refused(folder):
    (folder / "open_clip_config.json").write_text('{"a":' * 100_000)
    assert "is not JSON" in refusal(folder)


def test_a_folder_without_open_clips_configuration_is_refused_by_name(folder):
    (folder / "open_clip_config.json").unlink()
    assert "has no open_clip_config.json" in refusal(folder)
