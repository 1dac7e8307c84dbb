"""Our Visualized BGE against outputs of the authors' own code, on weights that a rule generates."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shopsearch.embedders.preprocessing import Preprocessing
from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE
from tests.embedders import parity

pytestmark = parity.needs_parity

FULL_SIZE = pytest.param(
    "vbge_base_full",
    marks=pytest.mark.skipif(
        not os.environ.get("SHOPSEARCH_TEST_FULL_SIZE"),
        reason="SHOPSEARCH_TEST_FULL_SIZE is not set: 3 GB, a minute",
    ),
)
RGB = ("a_rgb.png", "b_flat.png", "c_flat.png", "d_upright.png", "d_exif6.jpg")
"""Pictures that the authors' loader and ours both see as they are: RGB, and no orientation applied to any."""


@pytest.fixture(scope="module", params=["vbge_bert_tiny", "vbge_xlmr_tiny", FULL_SIZE])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def embedder(name: str, tmp_path_factory: pytest.TempPathFactory) -> VisualizedBGE:
    """The case as a user has it: a folder of the text model, and the authors' .pth beside it."""
    import torch

    described = parity.case(name)
    folder = tmp_path_factory.mktemp(name)
    config = dict(described["config"]["text"])
    if name != "vbge_base_full":  # whose tower is known by the text model's width
        tower = ("patch_size", "width", "layers", "heads", "mlp_hidden", "rope_grid")
        config["vision"] = {key: described["config"]["eva"][key] for key in tower}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = parity.PARITY / "tokenizers" / f"{described['tokenizer']}.json"
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    state = {key: torch.from_numpy(values) for key, values in parity.weights(name).items()}
    for key, shape in described["computed_buffers"]:
        state[key] = torch.zeros(shape)  # theirs are in the file too; ours are computed
    torch.save(state, folder / "Visualized.pth")
    return VisualizedBGE(model=str(folder), weights=str(folder / "Visualized.pth"))


@pytest.fixture(scope="module")
def expected(name: str) -> dict[str, Any]:
    with np.load(parity.PARITY / "cases" / f"{name}.npz") as arrays:
        return dict(arrays)


def comparable(expected: dict[str, Any]) -> list[str]:
    """The expected vectors whose picture, if any, the authors' loader and ours see alike."""
    vectors = [key for key in expected if key.startswith(("text/", "image/", "mm/"))]
    return [key for key in vectors if key.startswith("text/") or key.split("/")[1] in RGB]


def test_every_vector_is_the_authors_with_each_query_alone(embedder, expected):
    keys = comparable(expected)
    assert {key.split("/")[0] for key in keys} == {"text", "image", "mm"}
    for key in keys:
        np.testing.assert_allclose(
            embedder.embed([parity.query(key)])[0], expected[key], atol=2e-6, err_msg=key
        )


def test_every_vector_is_the_authors_with_all_queries_in_one_mixed_batch(embedder, expected):
    keys = comparable(expected)
    vectors = embedder.embed([parity.query(key) for key in keys])
    np.testing.assert_allclose(vectors, np.stack([expected[key] for key in keys]), atol=2e-6)


def test_every_vector_is_the_authors_given_their_own_pixels_and_token_ids(embedder, expected, name):
    """Palette and transparent pictures too, which the authors resize before they convert them."""
    import torch

    model, _ = embedder._loaded
    ids = parity.inputs()["token_ids"][parity.case(name)["tokenizer"]]
    with np.load(parity.PARITY / parity.case(name)["pixels"]) as pixels:
        for key in (key for key in expected if key.startswith(("image/", "mm/"))):
            _, picture, text = f"{key}/empty".split("/")[:3]
            row, limit = ids[text], parity.case(name)["limit_mm_text_tokens"]
            row = row if len(row) <= limit else [*row[: limit - 1], row[-1]]
            vector = model.embed_pictures(torch.from_numpy(pixels[picture])[None], [row])[0]
            np.testing.assert_allclose(vector.numpy(), expected[key], atol=2e-6, err_msg=key)


def test_the_tower_gives_the_authors_tokens(embedder, expected, name):
    import torch

    model, _ = embedder._loaded
    with np.load(parity.PARITY / parity.case(name)["pixels"]) as pixels:
        for key in (key for key in expected if key.startswith("vision_tokens/")):
            tokens = model.visual(torch.from_numpy(pixels[key.split("/")[1]])[None])[0].numpy()
            theirs = expected[key]
            if (
                len(theirs) == 8
            ):  # of the large case they keep the first four, the class token among them, and the last
                np.testing.assert_allclose(tokens[:3], theirs[1:4], atol=1e-4, err_msg=key)
                np.testing.assert_allclose(tokens[-4:], theirs[4:], atol=1e-4, err_msg=key)
            else:
                np.testing.assert_allclose(tokens, theirs[1:], atol=1e-4, err_msg=key)


def test_texts_are_cut_to_the_positions_that_are_left(embedder, name):
    model, _ = embedder._loaded
    assert model.text_limit == parity.case(name)["limit_text_tokens"]
    assert model.text_limit_beside_picture == parity.case(name)["limit_mm_text_tokens"]


def test_the_tokenizer_gives_the_authors_ids(embedder, name):
    _, tokenizer = embedder._loaded
    for text, ids in parity.inputs()["token_ids"][parity.case(name)["tokenizer"]].items():
        assert tokenizer.encode(parity.inputs()["texts"][text]).ids == ids, text


@pytest.mark.parametrize("picture", [picture for picture in RGB if picture.endswith(".png")])
def test_pixels_equal_the_authors(picture):
    with (
        np.load(parity.PARITY / "cases" / "vbge_pixels_224.npz") as pixels,
        Image.open(parity.PARITY / "pictures" / picture) as image,
    ):
        np.testing.assert_allclose(Preprocessing()(image), pixels[picture], atol=1e-6)
