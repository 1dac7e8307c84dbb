"""The extras of an install: declared once, and named in a sentence where one is missing."""

import re
import subprocess
import sys
import tomllib

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from shopsearch import conf
from shopsearch.embedders.visualized_bge import VisualizedBGE
from shopsearch.rerankers.pointwise import PointwiseReranker
from shopsearch.types import Query
from tests import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements):
    return {re.match(r"[\w-]+", line)[0].lower().replace("_", "-") for line in requirements}


@pytest.fixture
def without(monkeypatch):
    """Has packages look as if they were not installed."""

    def without(*packages):
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return without


def test_each_package_is_in_the_extra_that_the_messages_name():
    declared = PROJECT["optional-dependencies"]
    for package, extra in conf.EXTRAS.items():
        assert package.lower().replace("_", "-") in names(declared[extra])
        assert package.lower().replace("_", "-") not in names(PROJECT["dependencies"])


def test_all_has_every_extra():
    declared = dict(PROJECT["optional-dependencies"])
    (everything,) = declared.pop("all")
    assert set(re.search(r"\[(.+)\]", everything)[1].split(",")) == set(declared)


def test_the_requirements_are_what_the_package_needs_and_the_models_and_milvus_lite_and_a_web_server():
    declared = PROJECT["optional-dependencies"]
    needed = names([*PROJECT["dependencies"], *declared["models"], *declared["milvus-lite"], "gunicorn"])
    assert listed("requirements.txt") | listed("demo_project/requirements.txt") == needed


def test_the_demo_needs_no_package_that_only_models_from_a_hub_need():
    large = {"transformers", "sentence-transformers", "huggingface-hub", "flagembedding"}
    assert not listed("demo_project/requirements.txt") & large


def listed(path):
    return names(line for line in (ROOT / path).read_text().splitlines() if line and line[0] not in "#-")


@pytest.mark.parametrize("package", ["torch", "tokenizers", "safetensors"])
def test_a_model_without_its_packages_says_which_line_installs_them(without, package):
    without(package)
    with pytest.raises(
        ImproperlyConfigured, match=rf"{package} is not installed: pip install 'shopsearch\[models\]'"
    ):
        VisualizedBGE().embed([Query(text="red")])
    with pytest.raises(ImproperlyConfigured, match=r"shopsearch\[models\]"):
        PointwiseReranker(checkpoint="somewhere")._loaded  # noqa: B018


def test_without_huggingface_hub_a_model_on_the_hub_is_a_sentence_and_nothing_of_it_is_here(without):
    without("huggingface_hub")
    with pytest.raises(ImproperlyConfigured, match=r"shopsearch\[models\]"):
        VisualizedBGE(model="an-author/a-model").space  # noqa: B018
    assert PointwiseReranker(checkpoint="an-author/a-model").model.endswith("an-author/a-model")


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("milvus_lite", "milvus-lite", ["shopsearch_milvus_lite", "--data-dir", "somewhere"]),
        ("ir_measures", "evaluation", ["shopsearch_evaluate", "queries.json"]),
        ("huggingface_hub", "models", ["shopsearch_models", "download", "bge-vl-base", "folder"]),
        ("torch", "models", ["shopsearch_models", "convert", "visualized-bge", "a.pth", "folder"]),
    ],
)
def test_a_command_without_its_packages_says_which_line_installs_them(
    without, package, extra, command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    without(package)
    with pytest.raises(
        CommandError, match=rf"{package} is not installed: pip install 'shopsearch\[{extra}\]'"
    ):
        call_command(*command)


def test_whether_a_package_is_installed_is_found_without_importing_it():
    program = "import sys; from shopsearch import conf; conf.missing_packages('torch'); print('torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "False\n"
