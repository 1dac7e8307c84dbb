"""manage.py shopsearch_models: the list is true, and what it makes loads."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.core.management import CommandError, call_command
from django.utils.module_loading import import_string
from safetensors.torch import load_file

from shopsearch.embedders import hub
from shopsearch.embedders.catalogue import MODELS
from shopsearch.embedders.magiclens.embedder import MagicLens
from shopsearch.embedders.model_folder import BUNDLED
from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE
from shopsearch.types import Query
from tests import ROOT
from tests.embedders.contract import mixed_queries, picture
from tests.embedders.magiclens import files as magiclens_files

DOCS = ROOT / "docs" / "how-to-models.md"


def run(*arguments: object, **options: Any) -> str:
    output = io.StringIO()
    call_command("shopsearch_models", *map(str, arguments), stdout=output, **options)
    return output.getvalue()


def setting_of(output: str) -> dict[str, Any]:
    """The setting that the command says to write."""
    embedder: dict[str, Any] = json.loads(output.partition("SHOPSEARCH = ")[2])["EMBEDDER"]
    return embedder


# The list


def test_it_names_every_model_and_its_backend_within_80_columns():
    listed = run()
    for model in MODELS:
        assert f"\n{model.name}\n" in f"\n{listed}"
    assert max(map(len, listed.splitlines())) <= 80


def test_json_is_the_same_list_for_programs():
    listed = json.loads(run("--json"))
    assert [model["name"] for model in listed] == [model.name for model in MODELS]
    assert {"backend", "dimension", "languages", "licence", "megabytes", "good_at", "queries"} <= set(
        listed[0]
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_backend_takes_the_options_that_the_list_gives(model):
    embedder = import_string(model.backend)(**model.options("/models/somewhere"))
    assert embedder.batch_size >= 1


def test_the_bundled_model_is_as_listed():
    (bundled,) = (model for model in MODELS if model.name == "bundled")
    assert bundled.dimension == VisualizedBGE().dimension
    size = sum(file.stat().st_size for file in BUNDLED.iterdir())
    assert abs(size / 1e6 - bundled.megabytes) < 1


def test_the_documentation_lists_the_same_models():
    page = DOCS.read_text()
    for model in MODELS:
        assert f"| `{model.name}` | {model.dimension:,} |" in page


# Downloading


@pytest.fixture
def downloads(monkeypatch):
    """What is asked of the hub, which answers nothing."""
    asked = []

    def download_into(folder: Path, repository: str, revision: str, patterns: tuple[str, ...]) -> None:
        asked.append((repository, patterns, folder, revision))

    monkeypatch.setattr(hub, "download_into", download_into)
    return asked


def test_a_download_asks_for_the_models_files_only_and_says_what_to_set(downloads, tmp_path):
    setting = setting_of(run("download", "visualized-bge-base", tmp_path))
    assert downloads == [
        ("BAAI/bge-base-en-v1.5", ("config.json", "tokenizer.json"), tmp_path, ""),
        ("BAAI/bge-visualized", ("Visualized_base_en_v1.5.pth",), tmp_path, ""),
    ]
    assert setting == {
        "BACKEND": "shopsearch.embedders.visualized_bge.VisualizedBGE",
        "OPTIONS": {"model": str(tmp_path), "weights": f"{tmp_path}/Visualized_base_en_v1.5.pth"},
    }


def test_a_download_may_be_of_one_commit(downloads, tmp_path):
    run("download", "bge-vl-base", tmp_path, "--revision", "0123abc")
    assert [revision for *_, revision in downloads] == ["0123abc"]
    with pytest.raises(CommandError, match="several repositories, so there is no single commit"):
        run("download", "visualized-bge-base", tmp_path, "--revision", "0123abc")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("bge-vl-bass", "the models are bundled, photos, visualized-bge-base"),
        ("bundled", "comes with shopsearch"),
        ("magiclens-base", "gsutil cp"),
    ],
)
def test_what_cannot_be_downloaded_is_said(tmp_path, name, sentence):
    with pytest.raises(CommandError, match=sentence):
        run("download", name, tmp_path)


# Converting


def test_magiclens_is_converted_and_loads_by_the_setting_it_prints(tmp_path):
    magiclens_files.make(tmp_path)
    source = tmp_path / "magic_lens_clip.pkl"
    setting = setting_of(run("convert", "magiclens", source, tmp_path / "made", f"--tokenizer={tmp_path}"))
    assert setting["OPTIONS"] == {"model": str(tmp_path / "made")}
    embedder = import_string(setting["BACKEND"])(**setting["OPTIONS"])
    assert isinstance(embedder, MagicLens)
    assert embedder.embed([Query(image=picture(1))]).shape == (1, 32)


def authors_file(tmp_path: Path, **changes: Any) -> Path:
    """The bundled model as its authors would give it away."""
    state = {**load_file(BUNDLED / "model.safetensors"), "bge_pooler.dense.bias": torch.zeros(3), **changes}
    torch.save(state, tmp_path / "Visualized.pth")
    return tmp_path / "Visualized.pth"


def test_visualized_bge_is_converted_and_gives_the_same_vectors(tmp_path):
    output = run(
        *("convert", "visualized-bge", authors_file(tmp_path), tmp_path / "made"), f"--text-model={BUNDLED}"
    )
    setting = setting_of(output)
    embedder = import_string(setting["BACKEND"])(**setting["OPTIONS"])
    assert embedder.check() == []
    queries = mixed_queries(6)
    np.testing.assert_array_equal(embedder.embed(queries), VisualizedBGE().embed(queries))


def test_weights_of_something_else_are_refused_before_anything_is_written(tmp_path):
    source = authors_file(tmp_path, other=torch.zeros(3))
    with pytest.raises(CommandError, match="1 tensors do not belong to it, the first is other"):
        run("convert", "visualized-bge", source, tmp_path / "made", f"--text-model={BUNDLED}")
    assert not (tmp_path / "made").exists()


def test_the_text_models_own_folder_is_not_overwritten(tmp_path):
    with pytest.raises(CommandError, match="is the text model's own folder"):
        run("convert", "visualized-bge", authors_file(tmp_path), BUNDLED, f"--text-model={BUNDLED}")
    assert VisualizedBGE().check() == []


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(CommandError, match="There are no weights at"):
        run("convert", "magiclens", tmp_path / "x.pkl", tmp_path / "made", f"--tokenizer={BUNDLED}")
