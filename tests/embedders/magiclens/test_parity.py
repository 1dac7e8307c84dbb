"""Our MagicLens against outputs of its authors' own code, from their kind of file on: convert, load, embed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shopsearch.backends import get_embedder
from shopsearch.embedders.magiclens.conversion import convert
from shopsearch.embedders.magiclens.embedder import MagicLens
from tests.embedders import parity
from tests.embedders.magiclens import flax_files

pytestmark = parity.needs_parity

FULL_SIZE = pytest.param(
    "magiclens_base_full",
    marks=pytest.mark.skipif(
        not os.environ.get("SHOPSEARCH_TEST_FULL_SIZE"),
        reason="SHOPSEARCH_TEST_FULL_SIZE is not set: 4 GB, a minute",
    ),
)


@pytest.fixture(scope="module", params=["magiclens_tiny", FULL_SIZE])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The case as a user has it, after the authors' file was converted."""
    path = tmp_path_factory.mktemp(name)
    source = flax_files.write(path / "magic_lens_clip.pkl", parity.weights(name))
    tokenizer = (parity.PARITY / "tokenizers" / "clip_bpe.json").read_text("utf-8")
    (path / "tokenizer.json").write_text(
        tokenizer if name == "magiclens_tiny" else with_clips_special_ids(tokenizer)
    )
    convert(source, path / "tokenizer.json", path / "converted")
    source.unlink()
    return path / "converted"


def with_clips_special_ids(tokenizer: str) -> str:
    """The tiny tokenizer, whose special ids are the real one's."""
    described = json.loads(tokenizer)
    moved = {538: 49406, 539: 49407}
    for token in described["added_tokens"]:
        token["id"] = moved[token["id"]]
    vocabulary = described["model"]["vocab"]
    described["model"]["vocab"] = {token: moved.get(each, each) for token, each in vocabulary.items()}
    for name in ("sep", "cls"):
        described["post_processor"][name][1] = moved[described["post_processor"][name][1]]
    return json.dumps(described)


@pytest.fixture
def embedder(folder: Path, settings: Any) -> MagicLens:
    """As a project gets it: by its setting."""
    backend = "shopsearch.embedders.magiclens.MagicLens"
    settings.SHOPSEARCH = {"EMBEDDER": {"BACKEND": backend, "OPTIONS": {"model": str(folder)}}}
    built = get_embedder()
    assert isinstance(built, MagicLens)
    assert built.check() == []
    return built


@pytest.fixture(scope="module")
def expected(name: str) -> dict[str, Any]:
    return parity.arrays(f"cases/{name}.npz")


def test_every_vector_is_the_authors_with_each_query_alone(embedder, expected):
    keys = [key for key in expected if key.startswith("mm/")]
    assert {"empty", "bang", "long"} <= {key.split("/")[2] for key in keys}
    for key in keys:
        (vector,) = embedder.embed([parity.query(key)])
        np.testing.assert_allclose(vector, expected[key], atol=5e-6, rtol=0, err_msg=key)


def test_every_vector_is_the_authors_with_all_queries_in_one_batch(embedder, expected):
    keys = [key for key in expected if key.startswith("mm/")]
    vectors = embedder.embed([parity.query(key) for key in keys])
    np.testing.assert_allclose(vectors, np.stack([expected[key] for key in keys]), atol=5e-6, rtol=0)


def test_clips_features_are_the_authors(embedder, expected):
    model, tokenizer = embedder._loaded
    for key in expected:
        kind, _, which = key.partition("/")
        if kind == "clip_text":
            (features,) = embedder.text_features(model, tokenizer, [parity.inputs()["texts"][which]])
        elif kind == "clip_image":
            image = parity.query(f"image/{which}").image
            (features,) = embedder.image_features(model, [image])
        else:
            continue
        np.testing.assert_allclose(features, expected[key], atol=1e-4, rtol=0, err_msg=key)


@pytest.mark.parametrize("name", ["magiclens_tiny"], indirect=True)
def test_pixels_equal_the_authors(embedder, name):
    for picture, pixels in parity.arrays(parity.case(name)["pixels"]).items():
        with Image.open(parity.PARITY / "pictures" / picture) as image:
            ours = embedder.folder.preprocessing.brightened(image)
        np.testing.assert_allclose(ours.transpose(1, 2, 0), pixels, atol=5e-6, rtol=0, err_msg=picture)
