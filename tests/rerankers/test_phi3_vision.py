"""Phi-3-vision from a tiny checkpoint with its authors' configuration and names of tensors, and random weights."""

import json

import pytest
from django.core.exceptions import ImproperlyConfigured
from PIL import Image

from shopsearch.rerankers.listwise import ListwiseReranker
from shopsearch.rerankers.pointwise import PointwiseReranker
from shopsearch.rerankers.prompts import Prompt
from shopsearch.rerankers.vision_models import phi3
from shopsearch.rerankers.vision_models.phi3 import Phi3Vision
from shopsearch.types import Candidate, Query
from tests.rerankers.test_listwise import LEOPARD, NINE

EYES = "model.vision_embed_tokens."
CONFIG = {
    "model_type": "phi3_v",
    "architectures": ["Phi3VForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_phi3_v.Phi3VForCausalLM"},
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131072,
    "original_max_position_embeddings": 4096,
    "rope_theta": 10000.0,
    "rope_scaling": {"type": "su", "short_factor": [1.0] * 6, "long_factor": [2.0] * 6},
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
    "_attn_implementation": "flash_attention_2",
    # Not the authors': theirs is CLIP ViT-L/14-336, which is far too large for a test.
    "vision_config": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
}


def published(name):
    """A tensor's name here -> the one it is published by."""
    if name.startswith("lm."):
        return name.removeprefix("lm.")
    if name.startswith("clip."):
        return f"{EYES}img_processor.vision_model.{name.removeprefix('clip.')}"
    return EYES + name.replace("projection.", "img_projection.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    path = tmp_path_factory.mktemp("phi3")
    special = ["<|endoftext|>", "<s>", "<|user|>", "<|assistant|>", "<|end|>"]
    vocabulary = {each: place for place, each in enumerate([*special, *pre_tokenizers.ByteLevel.alphabet()])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(str(path / "tokenizer.json"))
    raw = {**CONFIG, "vocab_size": len(vocabulary)}
    (path / "config.json").write_text(json.dumps(raw))
    (path / "tokenizer_config.json").write_text("{}")
    torch.manual_seed(0)
    whole = phi3._build(*phi3._configurations(raw))
    state = {name: torch.randn_like(tensor) * 0.2 for name, tensor in whole.state_dict().items()}
    save_file({published(name): tensor for name, tensor in state.items()}, path / "model.safetensors")
    return path


@pytest.fixture(scope="module")
def model(folder):
    return Phi3Vision.load(folder, device="cpu")


@pytest.mark.parametrize("size", [(400, 300), (1200, 900), (300, 900), (336, 336), (2000, 100)])
def test_a_picture_is_as_many_tokens_as_the_authors_say(model, size):
    import torch

    fitted = phi3._fitted(Image.new("RGB", size))
    rows, columns = fitted.height // 336, fitted.width // 336
    assert fitted.size == (columns * 336, rows * 336)
    assert rows * columns <= 4
    with torch.inference_mode():
        tokens = model._look(Image.new("RGB", size))
    assert tokens.shape == ((rows * columns + 1) * 144 + 1 + (rows + 1) * 12, 48)


def test_a_picture_keeps_its_proportions_on_white():
    fitted = phi3._fitted(Image.new("RGB", (400, 300), (0, 90, 0)))
    assert fitted.size == (672, 672)
    assert fitted.getpixel((10, 10)) == (255, 255, 255)
    assert fitted.getpixel((10, 100)) == (0, 90, 0)


def test_its_prompt_is_the_authors(model):
    asked = Prompt(parts=(NINE[0].image, "Which?", NINE[1].image), system="Judge.", answer="Best: ")
    assert model._rendered(asked) == (
        "<|user|>\nJudge.\n<|image_1|>\nWhich?<|image_2|>\n<|end|>\n<|assistant|>\nBest: "
    )


def test_a_folder_of_it_is_loaded_by_the_listwise_reranker(folder):
    reranker = ListwiseReranker(
        checkpoint=str(folder), device="cpu", most_caption_tokens=2, most_reason_tokens=2
    )
    assert reranker.check() == []
    judgement = reranker.rerank(LEOPARD, NINE)
    assert len(judgement.scores) == 9
    assert sum(judgement.scores) == pytest.approx(1)
    back = reranker.rerank(LEOPARD, NINE[::-1])
    assert judgement.scores == pytest.approx(back.scores[::-1], abs=1e-6)


def test_pointwise_a_candidates_score_does_not_depend_on_its_neighbours(folder):
    reranker = PointwiseReranker(checkpoint=str(folder), device="cpu")
    three = [
        Candidate(product_id=str(each), image=NINE[each].image, text="case" * each, score=0.5)
        for each in range(3)
    ]
    together = reranker.rerank(Query(text="case"), three).scores
    alone = [reranker.rerank(Query(text="case"), [each]).scores[0] for each in three]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 6) for score in together}) == 3


def test_a_picture_matters_to_the_answer(model):
    red, blue = (Image.new("RGB", (50, 50), colour) for colour in ("red", "blue"))
    rows = model.choose([Prompt(parts=(each, "Which?")) for each in (red, blue)], ["1", "2"])
    assert rows[0] != pytest.approx(rows[1], abs=1e-4)


def test_weights_that_lack_a_tensor_are_refused(folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(folder, tmp_path / "model")
    state = load_file(copy / "model.safetensors")
    del state[f"{EYES}glb_GN"]
    save_file(state, copy / "model.safetensors")
    with pytest.raises(ImproperlyConfigured, match=r"(?s)not a Phi-3-vision that can be loaded.*glb_GN"):
        Phi3Vision.load(copy, device="cpu")
