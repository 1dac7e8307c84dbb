"""The similarities that the authors print, for whoever has their weights: ``pytest -m weights``.

SHOPSEARCH_TEST_WEIGHTS names a folder with a folder per model, as ``manage.py shopsearch_models`` makes them:
visualized-bge-base, visualized-bge-m3, bge-vl-base, bge-vl-large. Those that are not there are skipped by name.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopsearch.embedders.bge_vl import BGEVL
from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE
from shopsearch.types import Query
from tests import SHARED

pytestmark = pytest.mark.weights

SMOKE = SHARED / "data" / "model_smoke"
MODELS = {
    "Visualized BGE (bge-base-en-v1.5 + Visualized_base_en_v1.5.pth)": (
        VisualizedBGE,
        ["visualized-bge-base"],
    ),
    "Visualized BGE M3 (bge-m3 + Visualized_m3.pth)": (VisualizedBGE, ["visualized-bge-m3"]),
    "BGE-VL-base or -large (CLIP)": (BGEVL, ["bge-vl-base", "bge-vl-large"]),
    "BGE-VL-large": (BGEVL, ["bge-vl-large"]),
}
PRINTED_TO = 2e-3
"""Four digits are printed, and a JPEG decoder may differ by a level from the authors'."""


def checks():
    expected = SMOKE / "expected.json"
    if not expected.exists():
        return [pytest.param(None, None, id="no ../shared/data/model_smoke")]
    return [
        pytest.param(check, folder, id=f"{folder}-{number}")
        for number, check in enumerate(json.loads(expected.read_text())["checks"])
        for folder in MODELS[check["model"]][1]
    ]


def read(asked):
    picture = Image.open(SMOKE / asked["image"]).convert("RGB") if "image" in asked else None
    return Query(text=asked.get("text", ""), image=picture)


@pytest.mark.parametrize(("check", "folder"), checks())
def test_the_authors_weights_give_what_the_authors_print(check, folder):
    if check is None:
        pytest.skip("../shared/data/model_smoke is not there")
    weights = Path(os.environ.get("SHOPSEARCH_TEST_WEIGHTS", "")) / folder
    if "SHOPSEARCH_TEST_WEIGHTS" not in os.environ or not weights.is_dir():
        pytest.skip(f"the weights of {folder} are not there; SHOPSEARCH_TEST_WEIGHTS says where")
    embedder = MODELS[check["model"]][0](model=str(weights))
    corpus = check.get("corpus")
    candidates = check.get("candidates") or [
        {"image": f"{corpus}{path.name}"} for path in sorted((SMOKE / corpus).iterdir())
    ]
    vectors = embedder.embed([read(check["query"]), *map(read, candidates)])
    cosines = vectors[1:] @ vectors[0]
    if check.get("cosine"):
        np.testing.assert_allclose(cosines, check["cosine"], atol=PRINTED_TO)
    elif corpus:
        best = [candidates[place]["image"] for place in np.argsort(-cosines)]
        assert best[: len(check["top"])] == check["top"]
    else:
        assert int(np.argmax(cosines)) == 0
