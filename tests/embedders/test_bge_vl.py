"""BGE-VL from a folder: what it is beside any CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders.bge_vl import BGEVL
from shopsearch.embedders.two_tower.embedder import TwoTower
from shopsearch.types import Query
from tests.embedders.contract import EmbedderContract, picture
from tests.embedders.two_tower import models as two_tower_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_tower_models.make("clip", tmp_path_factory.mktemp("bge_vl"))


class TestBGEVL(EmbedderContract):
    backend = "shopsearch.embedders.bge_vl.BGEVL"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def options_of_the_folder(cls, folder: Path) -> None:
        cls.options = {"model": str(folder)}


def test_a_pair_is_the_sum_of_features_that_are_not_of_unit_length(folder):
    queries = [Query(text="mug"), Query(image=picture(1)), Query(text="mug", image=picture(1))]
    words, image, pair = BGEVL(model=str(folder)).embed(queries)
    clip_words, clip_image, clip_pair = TwoTower(model=str(folder)).embed(queries)
    np.testing.assert_array_equal(words, clip_words)
    np.testing.assert_array_equal(image, clip_image)
    assert np.abs(pair - clip_pair).max() > 1e-3


def test_its_space_is_not_that_of_the_same_files_as_a_plain_clip(folder):
    assert BGEVL(model=str(folder)).space.startswith("bge_vl_40_")
    assert BGEVL(model=str(folder)).space != TwoTower(model=str(folder)).space


def test_it_is_the_base_model_on_the_hub_where_no_other_is_named():
    assert BGEVL().model == "BAAI/BGE-VL-base"
    assert BGEVL().check() == []


def test_a_siglip_is_refused(tmp_path):
    two_tower_models.make("siglip", tmp_path)
    (problem,) = BGEVL(model=str(tmp_path)).check()
    assert "BGE-VL base and large are CLIPs" in problem.msg
    with pytest.raises(ImproperlyConfigured, match="are CLIPs"):
        BGEVL(model=str(tmp_path)).embed([Query(text="mug")])
