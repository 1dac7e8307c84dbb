"""Folders of small two-tower models with random weights, as a user has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors

TEXT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}
VISION = {**TEXT, "image_size": 64, "patch_size": 16}


def tokenizer(closing: str = "<|endoftext|>") -> Tokenizer:
    """Every byte is a token, and the closing one has the largest id."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={each: place for place, each in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<|startoftext|>", closing])
    opening = [("<|startoftext|>", 256)] if closing == "<|endoftext|>" else []
    made.post_processor = processors.TemplateProcessing(
        single=" ".join([*(name for name, _ in opening), "$A", closing]),
        special_tokens=[*opening, (closing, 257)],
    )
    return made


def make(family: str, folder: Path, *, seed: int = 0, **text: Any) -> Path:
    """A model of this family in the folder, as save_pretrained leaves it."""
    import torch
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    torch.manual_seed(seed)
    if family == "clip":
        ids = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 257, "vocab_size": 258}
        model: Any = CLIPModel(
            CLIPConfig(
                text_config={**TEXT, **ids, "max_position_embeddings": 77, **text},
                vision_config=VISION,
                projection_dim=40,
            )
        )
    else:
        model = SiglipModel(
            SiglipConfig(
                text_config={**TEXT, "vocab_size": 258, "max_position_embeddings": 64, **text},
                vision_config=VISION,
            )
        )
    with torch.no_grad():
        for parameter in model.parameters():  # as they come, all vectors are nearly the same
            if parameter.dim() > 1:
                parameter.mul_(4)
    model.save_pretrained(folder)
    tokenizer("<|endoftext|>" if family == "clip" else "</s>").save(str(folder / "tokenizer.json"))
    size: Any = {"shortest_edge": 64} if family == "clip" else {"height": 64, "width": 64}
    preprocessor = {"size": size, "do_center_crop": family == "clip", "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder
