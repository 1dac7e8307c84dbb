"""Object detection on transformers, with a tiny model that is made here: it loads, runs and sees something, no more."""

import json
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from shopsearch.detectors.base import distinct
from shopsearch.detectors.objects import ObjectDetector
from shopsearch.types import Proposal
from tests.detectors.contract import DetectorContract, scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch
    from transformers import YolosConfig, YolosForObjectDetection

    path = tmp_path_factory.mktemp("yolos")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = YolosForObjectDetection(
            YolosConfig(
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                image_size=[32, 32],
                patch_size=8,
                num_detection_tokens=8,
                id2label={0: "mug", 1: "lamp"},
                initializer_range=1.0,
            )
        )
        torch.nn.init.normal_(model.vit.embeddings.detection_tokens)
    model.save_pretrained(path)
    preprocessor = {
        "image_processor_type": "YolosImageProcessor",
        "size": {"height": 32, "width": 32},
        "format": "coco_detection",
    }
    (path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return path


class TestContract(DetectorContract):
    @pytest.fixture
    def detector(self, folder):
        return ObjectDetector(checkpoint=str(folder), device="cpu", threshold=0.1)


def test_it_says_what_it_sees(folder):
    found = ObjectDetector(checkpoint=str(folder), device="cpu", threshold=0.1).detect(scene())
    assert found
    assert {each.label for each in found} <= {"mug", "lamp"}
    assert ObjectDetector(checkpoint=str(folder), device="cpu", threshold=1).detect(scene()) == []


def test_what_cannot_be_loaded_is_the_projects_mistake(folder, tmp_path):
    with pytest.raises(ImproperlyConfigured, match="no folder"):
        ObjectDetector(checkpoint=str(tmp_path / "none")).detect(scene())
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ImproperlyConfigured, match="no object detector"):
        ObjectDetector(checkpoint=str(tmp_path)).detect(scene())
    wrong = ObjectDetector(checkpoint=str(folder), threshold=2, most=0)
    assert [each.id for each in wrong.check()] == ["shopsearch.E023", "shopsearch.E023"]
    assert ObjectDetector(checkpoint=str(folder)).check() == []


def test_naming_and_checking_it_imports_no_framework():
    script = (
        "import sys; from shopsearch.detectors.objects import ObjectDetector; ObjectDetector().check();"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def part(x, y, width, height, score):
    return Proposal(x=x, y=y, width=width, height=height, score=score)


def test_boxes_are_cut_at_the_edge_and_each_object_is_proposed_once():
    sure, again, other = (
        part(-0.1, 0.1, 0.5, 0.5, 0.9),
        part(0, 0.12, 0.4, 0.5, 0.8),
        part(0.6, 0.6, 0.6, 0.3, 0.7),
    )
    useless = [part(0, 0, 1, 1, 1), part(0.5, 0.5, 0.01, 0.2, 1), part(float("nan"), 0, 0.5, 0.5, 1)]
    found = distinct([other, again, *useless, sure], most=5)
    assert [each.score for each in found] == [0.9, 0.7]
    assert (found[0].x, found[0].width) == (0, pytest.approx(0.4))
    assert found[1].width == pytest.approx(0.4)
    assert distinct([other, sure], most=1) == [found[0]]
