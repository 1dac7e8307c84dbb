"""Our CLIP, SigLIP and BGE-VL against outputs of the authors' own code, on weights that a rule generates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shopsearch.backends import get_embedder
from shopsearch.embedders.two_tower.embedder import FusedTowers
from tests.embedders import parity

pytestmark = parity.needs_parity

FAMILY = {"bge_vl_tiny": "clip", "clip_tiny": "clip", "siglip_tiny": "siglip"}
BACKEND = {
    "bge_vl_tiny": "shopsearch.embedders.bge_vl.BGEVL",
    "clip_tiny": "shopsearch.embedders.two_tower.TwoTower",
    "siglip_tiny": "shopsearch.embedders.two_tower.TwoTower",
}


@pytest.fixture(scope="module", params=[*FAMILY])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The case as it lies on the hub."""
    import torch
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp(name)
    described = parity.case(name)
    (path / "config.json").write_text(json.dumps({**described["config"], "model_type": FAMILY[name]}))
    (path / "preprocessor_config.json").write_text(json.dumps(described["image_processor"]))
    tokenizer = parity.PARITY / "tokenizers" / f"{described['tokenizer']}.json"
    (path / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    state = {key: torch.from_numpy(values) for key, values in parity.weights(name).items()}
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    return path


@pytest.fixture
def embedder(name: str, folder: Path, settings: Any) -> FusedTowers:
    """As a project gets it: by its setting."""
    settings.SHOPSEARCH = {"EMBEDDER": {"BACKEND": BACKEND[name], "OPTIONS": {"model": str(folder)}}}
    built = get_embedder()
    assert isinstance(built, FusedTowers)
    assert built.check() == []
    return built


@pytest.fixture(scope="module")
def expected(name: str) -> dict[str, Any]:
    return parity.arrays(f"cases/{name}.npz")


def vectors_of(expected: dict[str, Any]) -> list[str]:
    """The expected vectors that a query asks for; no query has a picture and the empty text, which the authors sum."""
    keys = [key for key in expected if key.startswith(("text/", "image/", "mm/"))]
    return [key for key in keys if not (key.startswith("mm/") and key.endswith("/empty"))]


def test_every_vector_is_the_authors_with_each_query_alone(embedder, expected, name):
    keys = vectors_of(expected)
    kinds = {"text", "image", "mm"} if name == "bge_vl_tiny" else {"text", "image"}
    assert {key.split("/")[0] for key in keys} == kinds
    for key in keys:
        (vector,) = embedder.embed([parity.query(key)])
        np.testing.assert_allclose(vector, expected[key], atol=2e-6, rtol=0, err_msg=key)


def test_every_vector_is_the_authors_with_all_queries_in_one_mixed_batch(embedder, expected):
    keys = vectors_of(expected)
    vectors = embedder.embed([parity.query(key) for key in keys])
    np.testing.assert_allclose(vectors, np.stack([expected[key] for key in keys]), atol=2e-6, rtol=0)


def test_the_features_are_the_authors_given_their_own_pixels_and_token_ids(embedder, expected, name):
    import torch

    model, _ = embedder._loaded
    pixels = parity.arrays(parity.case(name)["pixels"])
    for key in expected:
        kind, _, which = key.partition("/")
        if kind == "text_features":
            features = model.text_features([parity.token_ids(name, which)])
        elif kind == "image_features":
            features = model.image_features(torch.from_numpy(pixels[which])[None])
        else:
            continue
        np.testing.assert_allclose(features[0].numpy(), expected[key], atol=1e-4, rtol=0, err_msg=key)


@pytest.mark.parametrize("name", ["bge_vl_tiny"], indirect=True)
def test_a_picture_with_the_empty_text_is_the_authors_sum(embedder, expected):
    """They add the empty text's features too, where ours takes a picture alone to have no text."""
    keys = [key for key in expected if key.startswith("mm/") and key.endswith("/empty")]
    assert keys
    for key in keys:
        words, picture = expected["text_features/empty"], expected[f"image_features/{key.split('/')[1]}"]
        fused = embedder.fuse(words[None], picture[None])[0]
        np.testing.assert_allclose(fused / np.linalg.norm(fused), expected[key], atol=2e-6, rtol=0)


def test_pixels_equal_the_authors(embedder, name):
    for picture, pixels in parity.arrays(parity.case(name)["pixels"]).items():
        with Image.open(parity.PARITY / "pictures" / picture) as image:
            ours = embedder.folder.preprocessing(image.convert("RGB"))
        np.testing.assert_allclose(ours, pixels, atol=1e-6, rtol=0, err_msg=picture)


def test_the_tokenizer_gives_the_authors_ids(embedder, name):
    _, tokenizer = embedder._loaded
    for text, ids in parity.inputs()["token_ids"][parity.case(name)["tokenizer"]].items():
        assert tokenizer.encode(parity.inputs()["texts"][text]).ids == ids, text
