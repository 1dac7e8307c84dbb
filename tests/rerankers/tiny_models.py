"""Tiny vision-language models with random weights, made offline: they load, run and answer nonsense.

They show what the code does with any model. That a random model ranks well is never claimed.
"""

import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEMPLATE = (
    "{% for message in messages %}START{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}END\n{% endfor %}{% if add_generation_prompt %}STARTassistant\n{% endif %}"
)
QWEN = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
)
GRID = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
SPECIAL = {
    "gemma3": (
        *("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        *("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    ),
    "idefics3": (
        *("<|endoftext|>", "<|im_start|>", "<end_of_utterance>"),
        *("<fake_token_around_image>", "<image>", "<global-img>", *GRID),
    ),
    "qwen3_vl": QWEN,
}
IMAGE = {
    "gemma3": "<start_of_image>",
    "idefics3": "<image>",
    "qwen3_vl": "<|vision_start|><|image_pad|><|vision_end|>",
}
PROCESSOR = {"gemma3": "Gemma3Processor", "idefics3": "Idefics3Processor", "qwen3_vl": "Qwen3VLProcessor"}
PREPROCESSOR = {
    "gemma3": {
        "image_processor_type": "Gemma3ImageProcessor",
        "size": {"height": 64, "width": 64},
        "image_seq_length": 16,
    },
    "idefics3": {
        "image_processor_type": "Idefics3ImageProcessor",
        "size": {"longest_edge": 128},
        "max_image_size": {"longest_edge": 64},
        "do_image_splitting": False,
    },
    "qwen3_vl": {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "size": {"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 64},
    },
}
LENGTH = {
    "gemma3": {"image_seq_length": 16},
    "idefics3": {"image_seq_len": 16},
    "qwen3_vl": {},
}


def make(family, folder, *, seed=0):
    """A checkpoint of this family in the folder, as save_pretrained would leave it: 0.5 to 0.9 MB."""
    import torch

    tokenizer = _tokenizer(family)
    torch.manual_seed(seed)
    model = _model(family, tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():  # as they come, all answers are nearly equally likely
            if parameter.dim() > 1:
                parameter.mul_(4)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write(
        folder / "preprocessor_config.json", {**PREPROCESSOR[family], "processor_class": PROCESSOR[family]}
    )
    _write(folder / "processor_config.json", {**LENGTH[family], "processor_class": PROCESSOR[family]})
    template = TEMPLATE.replace("START", SPECIAL[family][3 if family == "gemma3" else 1])
    template = template.replace("END", SPECIAL[family][4 if family == "gemma3" else 2])
    (folder / "chat_template.jinja").write_text(template.replace("IMAGE", IMAGE[family]))
    return folder


def _write(path, value):
    path.write_text(json.dumps(value))


def _tokenizer(family):
    """Every byte is a token."""
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={each: place for place, each in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    special = SPECIAL[family]
    named = {"pad_token": special[0], "eos_token": special[1 if family == "gemma3" else 2]}
    if family == "gemma3":
        named |= {"bos_token": "<bos>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
        named |= {"image_token": "<image_soft_token>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, model_max_length=8192, **named)
    others = [each for each in special if each not in (named["pad_token"], named["eos_token"])]
    tokenizer.add_special_tokens({"additional_special_tokens": others})
    return tokenizer


def _model(family, tokenizer):
    import transformers

    ids = {each: tokenizer.convert_tokens_to_ids(each) for each in SPECIAL[family]}
    text = {
        "vocab_size": max(ids.values()) + 1,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 8192,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    vision = {"hidden_size": 32, "intermediate_size": 64}
    tower = {**vision, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64, "patch_size": 8}
    if family == "gemma3":
        config = transformers.Gemma3Config(
            text_config={**text, "sliding_window": 512, "query_pre_attn_scalar": 16},
            vision_config=tower,
            mm_tokens_per_image=16,
            boi_token_index=ids["<start_of_image>"],
            eoi_token_index=ids["<end_of_image>"],
            image_token_index=ids["<image_soft_token>"],
        )
        return transformers.Gemma3ForConditionalGeneration(config)
    if family == "idefics3":
        config = transformers.Idefics3Config(
            text_config={**text, "model_type": "llama"},
            vision_config=tower,
            image_token_id=ids["<image>"],
            scale_factor=2,
            pad_token_id=tokenizer.pad_token_id,
        )
        return transformers.Idefics3ForConditionalGeneration(config)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    depth = {"depth": 2, "num_heads": 2, "patch_size": 16, "spatial_merge_size": 2, "out_hidden_size": 64}
    config = transformers.Qwen3VLConfig(
        text_config={**text, "rope_parameters": rope},
        vision_config={**vision, **depth, "num_position_embeddings": 256, "deepstack_visual_indexes": [0]},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    return transformers.Qwen3VLForConditionalGeneration(config)
