"""Models from elsewhere: no pickle is read, no code of theirs is run, and which commit is meant can be said."""

import ast
import pickle
import re

import pytest
from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders import model_folder
from shopsearch.embedders.catalogue import MODELS
from shopsearch.embedders.magiclens import flax
from shopsearch.embedders.torch_model import TorchEmbedder
from shopsearch.rerankers.listwise import ListwiseReranker
from shopsearch.rerankers.vision_language import VisionLanguageReranker
from tests import ROOT

PACKAGE = ROOT / "shopsearch"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def calls():
    """Every call in the package: its file, the name that is called, and its keywords."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield (
                    str(path.relative_to(PACKAGE)),
                    ast.unparse(node.func),
                    {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords},
                )


CALLS = list(calls())


def test_nothing_unpickles_more_than_bytes_and_torch_reads_nothing_but_tensors():
    loading = re.compile(
        r"^\s*(?:import|from) (?:.*\b)?(pickle|dill|cloudpickle|joblib|marshal|shelve)\b", re.M
    )
    importing = {path.name for path in PACKAGE.rglob("*.py") if loading.search(path.read_text())}
    assert importing == {"flax.py"}
    assert not [each for each in CALLS if each[1] in ("pickle.load", "pickle.loads", "pickle.Unpickler")]
    loads = [keywords for _, name, keywords in CALLS if name == "torch.load"]
    assert loads
    assert all(keywords.get("weights_only") == "True" for keywords in loads)


def test_a_checkpoint_that_is_a_pickle_is_never_loaded(tmp_path):
    pytest.importorskip("msgpack", reason="pip install 'shopsearch[magiclens]'")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(print))
    with pytest.raises(ImproperlyConfigured, match="never loaded"):
        flax.read(tmp_path / "model.pkl")


def test_no_code_is_run_that_comes_with_a_model():
    loads = [each for each in CALLS if each[1].endswith(".from_pretrained") or "trust_remote_code" in each[2]]
    assert loads
    wrong = [each for each in loads if each[2].get("trust_remote_code", "False") != "False"]
    assert wrong == []
    assert not [each for each in CALLS if each[1] in ("eval", "exec", "compile", "os.system", "os.popen")]
    assert not [each for each in CALLS if each[2].get("shell") == "True"]


def test_whatever_is_downloaded_is_of_the_commit_that_was_named():
    downloads = [each for each in CALLS if each[1].endswith("snapshot_download")]
    assert {file for file, _, _ in downloads} == {"embedders/hub.py"}
    assert all(keywords.get("revision") == "revision or None" for _, _, keywords in downloads)


@pytest.mark.parametrize(
    "name",
    sorted(
        {model.backend for model in MODELS if "visualized" not in model.backend and not model.from_wheels}
    ),
)
def test_every_embedder_of_the_list_takes_a_revision_and_asks_for_it(name, monkeypatch, tmp_path):
    from django.utils.module_loading import import_string

    asked = []

    def snapshot(repository, **options):
        asked.append((repository, options["revision"]))
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    embedder = import_string(name)(model="maker/model", revision=COMMIT)
    assert isinstance(embedder, TorchEmbedder)
    with pytest.raises(Exception, match="cannot be downloaded"):
        embedder.folder  # noqa: B018
    assert set(asked) == {("maker/model", COMMIT)}


def test_so_does_visualized_bge(monkeypatch):
    asked = []
    monkeypatch.setattr(
        model_folder, "find", lambda model, **options: asked.append(options) or model_folder.BUNDLED
    )
    from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE

    assert VisualizedBGE(model="maker/model", revision=COMMIT).folder
    assert asked == [{"revision": COMMIT}]


def test_so_do_the_rerankers():
    assert issubclass(ListwiseReranker, VisionLanguageReranker)
    assert ListwiseReranker(checkpoint="maker/model", revision=COMMIT).revision == COMMIT
