"""Vision-language models in general: which are taken, which are refused and in what words, and what is asked."""

import json
import shutil
import subprocess
import sys
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured
from PIL import Image

from shopsearch.exceptions import RerankerError
from shopsearch.rerankers import vision_language
from shopsearch.rerankers.listwise import ListwiseReranker
from shopsearch.rerankers.pointwise import PointwiseReranker
from shopsearch.rerankers.prompts import Prompt
from shopsearch.rerankers.vision_models import checkpoints
from shopsearch.rerankers.vision_models.base import VisionLanguageModel
from tests.rerankers import tiny_models

PICTURE = Image.new("RGB", (80, 60), (200, 40, 40))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny checkpoint of each family, made once."""
    made = {}
    for family in tiny_models.PROCESSOR:
        made[family] = tiny_models.make(family, tmp_path_factory.mktemp(family))
    return made


@pytest.fixture
def copy(folders, tmp_path):
    """A checkpoint that a test may spoil."""
    return shutil.copytree(folders["gemma3"], tmp_path / "model")


def rewrite(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("family", list(tiny_models.PROCESSOR))
def test_a_native_model_of_any_family_chooses_among_labels_and_writes(folders, family):
    model = VisionLanguageModel.load(folders[family], device="cpu")
    asked = Prompt(parts=(PICTURE, "Which?"), answer="Answer: ")
    rows = model.choose([asked], ["1", "2", "3"])
    assert len(rows) == 1
    assert sum(rows[0]) == pytest.approx(1)
    assert len(set(rows[0])) == 3
    assert model.choose([asked], ["1", "2", "3"]) == rows
    assert isinstance(model.write(asked, most_tokens=4), str)


@pytest.mark.parametrize("family", list(tiny_models.PROCESSOR))
def test_a_batch_of_unequal_prompts_gives_what_each_gives_alone(folders, family):
    model = VisionLanguageModel.load(folders[family], device="cpu")
    asked = [
        Prompt(parts=(Image.new("RGB", (40 + 30 * each, 60), (25 * each, 90, 200)), "x" * 7 * each))
        for each in range(5)
    ]
    together = model.choose(asked, ["yes", "no"], batch_size=5)
    alone = [model.choose([each], ["yes", "no"])[0] for each in asked]
    assert [yes for yes, _ in together] == pytest.approx([yes for yes, _ in alone], abs=1e-5)
    assert len({round(yes, 6) for yes, _ in alone}) == 5


def test_labels_that_begin_with_the_same_token_are_refused(folders):
    model = VisionLanguageModel.load(folders["gemma3"], device="cpu")
    with pytest.raises(ImproperlyConfigured, match="cannot tell 1, 10 apart"):
        model.choose([Prompt(parts=(PICTURE, "Which?"))], ["1", "10"])


def test_it_loads_once_however_many_threads_ask(folders, monkeypatch):
    loads = []
    load = VisionLanguageModel.load

    def counted(*args, **options):
        loads.append(args)
        return load(*args, **options)

    monkeypatch.setattr(VisionLanguageModel, "load", counted)
    reranker = PointwiseReranker(checkpoint=str(folders["gemma3"]), device="cpu")
    asked = Prompt(parts=(PICTURE, "Which?"))
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(reranker._loaded.choose([asked], ["yes", "no"])))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert len(answers) == 4
    assert all(answer == answers[0] for answer in answers)


def test_the_models_name_follows_its_files_and_not_their_place(folders, copy):
    first = ListwiseReranker(checkpoint=str(folders["gemma3"])).model
    assert first.startswith("listwise/gemma3")
    assert ListwiseReranker(checkpoint=str(copy)).model.partition("@")[2] == first.partition("@")[2]
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert ListwiseReranker(checkpoint=str(copy)).model.partition("@")[2] != first.partition("@")[2]


def test_other_weights_have_another_name(folders, tmp_path):
    other = tiny_models.make("gemma3", tmp_path / "other", seed=1)
    ours = ListwiseReranker(checkpoint=str(folders["gemma3"])).model
    assert ListwiseReranker(checkpoint=str(other)).model.partition("@")[2] != ours.partition("@")[2]


def test_a_model_that_is_not_on_this_machine_still_has_a_name():
    assert ListwiseReranker(checkpoint="/nowhere/at-all").model == "listwise/at-all"


def test_naming_and_checking_a_model_loads_no_framework(folders):
    program = (
        "import sys; from shopsearch.rerankers.listwise import ListwiseReranker;"
        "from shopsearch.rerankers.pointwise import PointwiseReranker;"
        f"made = [kind(checkpoint={str(folders['gemma3'])!r}) for kind in (ListwiseReranker, PointwiseReranker)];"
        "print([each.check() for each in made], all('@' in each.model for each in made));"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stdout == "[[], []] True\n[]\n", run.stderr


@pytest.mark.parametrize("kind", [ListwiseReranker, PointwiseReranker])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint": "/nowhere"}, "There is no folder '/nowhere'"),
        ({}, "There is no folder ''"),
        ({"checkpoint": "a/model", "dtype": "float8"}, "dtype cannot be 'float8'"),
        ({"checkpoint": "a/model", "most_candidates": 0}, "most_candidates must be"),
    ],
)
def test_check_says_what_is_wrong_with_the_options(kind, options, message):
    found = kind(**options).check()
    assert [each.id for each in found] == ["shopsearch.E021"]
    assert message in found[0].msg


@pytest.fixture
def hub(folders, copy, monkeypatch):
    """A hub that has one model; what is downloaded from it lies in ``copy``. It lists the downloads asked for."""
    asked = []

    def snapshot_download(name, *, revision, allow_patterns, local_files_only, local_dir):
        if not local_files_only:
            asked.append((name, revision))
            if name != "maker/model":
                raise ConnectionError("no such model, or no network")
            shutil.copytree(folders["gemma3"], copy, dirs_exist_ok=True)
        if not copy.is_dir() or name != "maker/model":
            raise FileNotFoundError(name)
        return copy

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return asked


def test_a_model_on_the_hub_that_is_here_is_not_downloaded_again(hub, copy):
    assert checkpoints.find("maker/model") == copy
    assert hub == []
    assert ListwiseReranker(checkpoint="maker/model").model.startswith("listwise/maker/model@")


def test_half_a_download_is_completed_and_until_then_has_no_fingerprint(hub, copy):
    (copy / "model.safetensors").unlink()
    reranker = ListwiseReranker(checkpoint="maker/model", revision="v2")
    assert reranker.check() == []
    assert reranker.model == "listwise/maker/model"
    assert checkpoints.find("maker/model", "v2") == copy
    assert hub == [("maker/model", "v2")]
    assert reranker.model.startswith("listwise/maker/model@")


def test_a_download_of_several_files_is_whole_when_all_are_here(hub, copy):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (copy / checkpoints.INDEX).write_text(json.dumps(index))
    assert checkpoints.find_downloaded("maker/model") is None
    shutil.copy(copy / "model.safetensors", copy / "model-2.safetensors")
    assert checkpoints.find_downloaded("maker/model") == copy


def test_a_model_that_cannot_be_downloaded_says_so(hub):
    with pytest.raises(ImproperlyConfigured, match="not on this machine and cannot be downloaded"):
        checkpoints.find("maker/other")


def test_a_missing_folder_is_refused_when_first_asked():
    with pytest.raises(ImproperlyConfigured, match="There is no folder '/nowhere'"):
        _ = ListwiseReranker(checkpoint="/nowhere")._loaded


def test_a_model_that_only_reads_is_refused(copy):
    rewrite(copy, model_type="llama")
    with pytest.raises(ImproperlyConfigured, match="not a vision-language model"):
        VisionLanguageModel.load(copy, device="cpu")


def test_a_model_that_brings_its_own_code_is_refused_and_the_code_is_not_run(copy):
    (copy / "modeling.py").write_text("raise SystemExit('the code ran')")
    rewrite(copy, model_type="moondream1", auto_map={"AutoModelForCausalLM": "modeling.Model"})
    with pytest.raises(ImproperlyConfigured, match="code that comes with a model is never run"):
        VisionLanguageModel.load(copy, device="cpu")


def test_a_model_that_transformers_does_not_know_is_refused(copy):
    rewrite(copy, model_type="gemma99")
    with pytest.raises(ImproperlyConfigured, match="installed transformers does not know"):
        VisionLanguageModel.load(copy, device="cpu")


def test_truncated_weights_are_refused_before_they_are_loaded(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "truncated" in ListwiseReranker(checkpoint=str(copy)).check()[0].msg
    with pytest.raises(ImproperlyConfigured, match="truncated"):
        VisionLanguageModel.load(copy, device="cpu")


def test_pickled_weights_are_not_even_looked_for(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ImproperlyConfigured, match="pickled weights are never loaded"):
        VisionLanguageModel.load(copy, device="cpu")


def test_weights_of_another_architecture_are_refused_instead_of_made_up(copy, folders):
    shutil.copy(folders["idefics3"] / "model.safetensors", copy / "model.safetensors")
    with pytest.raises(ImproperlyConfigured, match="tensors are missing or misshapen"):
        VisionLanguageModel.load(copy, device="cpu")


def test_a_model_that_cannot_be_talked_to_is_refused(copy):
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(ImproperlyConfigured, match="no chat template"):
        VisionLanguageModel.load(copy, device="cpu")


def test_a_configuration_that_is_not_json_is_refused(copy):
    (copy / "config.json").write_text("{")
    with pytest.raises(ImproperlyConfigured, match="not a model's configuration"):
        VisionLanguageModel.load(copy, device="cpu")


def full_above(model, most, monkeypatch):
    """Make the model run out of memory with more than ``most`` prompts at once; the sizes it was asked with."""
    import torch

    sizes = []
    forward = model.model.forward

    def limited(*args, **inputs):
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(*args, **inputs)

    monkeypatch.setattr(model.model, "forward", limited)
    return sizes


def test_a_batch_too_large_for_the_memory_is_halved_until_it_fits(folders, monkeypatch):
    model = VisionLanguageModel.load(folders["gemma3"], device="cpu")
    asked = [Prompt(parts=(PICTURE, "x" * each)) for each in range(9)]
    expected = model.choose(asked, ["yes", "no"], batch_size=9)
    sizes = full_above(model, 2, monkeypatch)
    rows = model.choose(asked, ["yes", "no"], batch_size=9)
    assert sizes == [9, 4, 2, 2, 2, 2, 1]
    assert [yes for yes, _ in rows] == pytest.approx([yes for yes, _ in expected], abs=1e-5)


def test_one_prompt_too_large_for_the_memory_is_the_rerankers_error(folders, monkeypatch):
    model = VisionLanguageModel.load(folders["gemma3"], device="cpu")
    full_above(model, 0, monkeypatch)
    with pytest.raises(RerankerError, match="no memory left"):
        model.choose([Prompt(parts=(PICTURE, "Which?"))], ["yes", "no"])


def test_the_module_itself_imports_no_framework():
    assert not {"torch", "transformers"} & set(vars(vision_language))
