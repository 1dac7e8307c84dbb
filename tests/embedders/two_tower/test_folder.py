"""The files of CLIP and SigLIP: what is refused with a sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.exceptions import ImproperlyConfigured
from safetensors.torch import load_file, save_file

from shopsearch.embedders.two_tower.embedder import TwoTower
from tests.embedders.contract import mixed_queries
from tests.embedders.two_tower import models as two_tower_models


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_tower_models.make("clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture
def folder(clip: Path, tmp_path: Path) -> Path:
    """CLIP's files, to be changed."""
    for file in clip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(folder: Path | str, **options: Any) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        TwoTower(model=str(folder), **options).embed(mixed_queries(3))
    return str(caught.value)


def problems(folder: Path | str, **options: Any) -> list[str]:
    return [message.msg for message in TwoTower(model=str(folder), **options).check()]


def test_a_checkpoint_that_code_hides_in_is_refused_and_runs_nothing(folder, tmp_path):
    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "it ran"),)

    (folder / "model.safetensors").unlink()
    torch.save({"logit_scale": Payload()}, folder / "pytorch_model.bin")
    assert "more than tensors" in refusal(folder)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("kept", [0, 5, 20_000, -1])
def test_truncated_weights_are_refused_and_the_check_sees_it(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert "truncated" in refusal(folder)
    assert len(problems(folder)) == 1


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda state: state.pop("text_projection.weight"), "the first is text_projection.weight"),
        (
            lambda state: state.update(other=torch.zeros(1)),
            "1 tensors do not belong to it, the first is other",
        ),
        (lambda state: state.update({"text_projection.weight": torch.zeros(9)}), "should be (40, 48)"),
    ],
    ids=["missing", "left over", "another shape"],
)
def test_weights_of_another_architecture_are_refused_with_the_difference(folder, spoil, sentence):
    state = load_file(folder / "model.safetensors")
    spoil(state)
    save_file(state, folder / "model.safetensors")
    assert sentence in refusal(folder)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("config.json", {"model_type": "qwen3_vl"}, "'qwen3_vl', not clip or siglip"),
        (
            "config.json",
            {"vision_config": {"image_size": "large"}},
            "does not describe a model of two towers",
        ),
        ("preprocessor_config.json", {"do_normalize": False}, "do_normalize"),
        ("preprocessor_config.json", {"crop_size": 48}, "pictures of 48 pixels for a tower that reads 64"),
        ("preprocessor_config.json", {"size": 32}, "larger than the picture it is cut from"),
    ],
    ids=["another family", "no shape", "not normalised", "another size", "too large a cut"],
)
def test_a_configuration_of_something_else_is_refused(folder, name, changes, sentence):
    change(folder / name, **changes)
    assert sentence in refusal(folder)
    assert len(problems(folder)) == 1


def test_a_tokenizer_that_does_not_close_texts_as_the_model_expects_is_refused(folder):
    """Else every text had the vector of its first token, silently."""
    config = json.loads((folder / "config.json").read_text())
    change(folder / "config.json", text_config={**config["text_config"], "eos_token_id": 7})
    assert "closes a text with 257 and config.json says 7" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused_by_name(folder, name):
    (folder / name).unlink()
    assert f"has no {name}" in refusal(folder)
    assert len(problems(folder)) == 1


def test_no_model_is_a_sentence():
    assert "Name the model" in refusal("")
    assert len(problems("")) == 1


def test_a_model_on_the_hub_is_not_looked_up_by_the_check():
    assert problems("openai/clip-vit-base-patch32") == []


def test_a_model_on_the_hub_that_is_not_here_is_a_clear_refusal_when_offline(monkeypatch):
    import huggingface_hub

    def offline(*args: object, **kwargs: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    assert "cannot be downloaded" in refusal("openai/clip-vit-base-patch32")


@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"batch_size": 0}, {"text_weight": 1.5}], ids=str)
def test_the_check_sees_an_option_that_cannot_be(clip, options):
    assert len(problems(clip, **options)) == 1


class Hub:
    """A repository on the Hugging Face hub, and what of it is on this machine."""

    def __init__(self, files: Path, here: Path) -> None:
        self.files, self.here, self.asked = files, here, 0

    def snapshot_download(
        self,
        repository: str,
        *,
        revision: str | None,
        allow_patterns: list[str],
        local_files_only: bool,
        local_dir: None,
    ) -> str:
        self.revision = revision
        if local_files_only:
            if not self.here.is_dir():
                raise FileNotFoundError(repository)
            return str(self.here)
        self.asked += 1
        self.here.mkdir(exist_ok=True)
        for file in self.files.iterdir():
            if file.name in allow_patterns:
                (self.here / file.name).write_bytes(file.read_bytes())
        return str(self.here)


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "torch's file alone"])
def test_a_model_on_the_hub_is_downloaded_once_in_one_format(folder, tmp_path_factory, monkeypatch, pickled):
    import huggingface_hub

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "tf_model.h5").write_bytes(b"of no use")
    if pickled:
        (folder / "model.safetensors").unlink()
    hub = Hub(folder, tmp_path_factory.mktemp("hub") / "here")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    first = TwoTower(model="openai/clip-vit-base-patch32")
    first.embed(mixed_queries(3))
    weights = {file.name for file in hub.here.iterdir()} - {"config.json", "tokenizer.json"}
    assert weights == {"preprocessor_config.json", "pytorch_model.bin" if pickled else "model.safetensors"}
    asked = hub.asked
    second = TwoTower(model="openai/clip-vit-base-patch32", revision="0123abc")
    second.embed(mixed_queries(3))
    assert (hub.asked, second.space, hub.revision) == (asked, first.space, "0123abc")
