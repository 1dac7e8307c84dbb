"""Phi-3-vision: its authors' weights on transformers' Phi3 and CLIP, without the authors' code."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders import weights
from shopsearch.embedders.torch_model import device_of
from shopsearch.rerankers.prompts import Prompt
from shopsearch.rerankers.vision_models import checkpoints
from shopsearch.rerankers.vision_models.base import DataType, VisionLanguageModel

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

MODEL_TYPE = "phi3_v"
TILE = 336
MAX_TILES = 4
"""A picture costs up to 757 tokens with 4; the authors' 16 cost four times as many."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
CLIP_L_14_336 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": TILE,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
SPECIAL = {"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
_PLACE = re.compile(r"<\|image_(\d+)\|>")


class Phi3Vision(VisionLanguageModel):
    """Phi-3-vision-128k-instruct, as published.

    ``model`` is the language model, ``processor`` holds the tokenizer, and ``eyes`` turns pictures into tokens.
    """

    eyes: Any

    @classmethod
    def load(
        cls, path: Path, *, device: str = "auto", device_map: str = "", dtype: DataType = "auto"
    ) -> Phi3Vision:
        from types import SimpleNamespace

        import torch
        from transformers import PreTrainedTokenizerFast

        fast: Any = PreTrainedTokenizerFast
        checkpoints.verify(path)
        if device_map:
            raise ImproperlyConfigured("Phi-3-vision stays in one piece: leave device_map empty.")
        device = device_of(device)
        if dtype == "auto":
            dtype = "float32" if device == "cpu" else "bfloat16"
        try:
            config, vision = _configurations(checkpoints.configuration(path))
            with torch.device("meta"):
                whole = _build(config, vision)
            state = {
                _renamed(name): tensor.to(device, getattr(torch, dtype))
                for file in sorted(path.glob(checkpoints.TENSORS))
                for name, tensor in weights.load_weights(file).items()
            }
            whole.load_state_dict(state, strict=True, assign=True)
            # No checkpoint holds the buffers; take them from a model with one layer.
            for name, buffer in _build(_small(config), {**vision, "num_hidden_layers": 1}).named_buffers():
                module, _, leaf = name.rpartition(".")
                whole.get_submodule(module).register_buffer(leaf, buffer.to(device), persistent=False)
            tokenizer = fast(tokenizer_file=str(path / "tokenizer.json"), **SPECIAL)
        except ImproperlyConfigured:
            raise
        except Exception as error:  # the files may come from anywhere and cause any error
            raise ImproperlyConfigured(f"{path} is not a Phi-3-vision that can be loaded: {error}") from error
        whole.eval()
        loaded = cls(model=whole["lm"], processor=SimpleNamespace(tokenizer=tokenizer))
        loaded.eyes = whole
        loaded.model.generation_config.eos_token_id = [
            tokenizer.convert_tokens_to_ids(end) for end in ("<|endoftext|>", "<|end|>")
        ]
        loaded.model.generation_config.pad_token_id = tokenizer.pad_token_id
        return loaded

    def _next(self, prompts: Sequence[Prompt]) -> Tensor | None:
        """One prompt at a time: if one exceeds 4,096 positions, the model changes the rotations of its whole batch."""
        import torch

        rows = []
        for prompt in prompts:
            row = super()._next([prompt])
            if row is None:
                return None
            rows.append(row)
        return torch.cat(rows)

    def _inputs(self, prompts: Sequence[Prompt]) -> Mapping[str, Tensor]:
        import torch

        (prompt,) = prompts
        pictures = [part for part in prompt.parts if not isinstance(part, str)]
        embed = self.model.get_input_embeddings()
        parts = []
        for place, part in enumerate(_PLACE.split(self._rendered(prompt))):
            if place % 2:
                parts.append(self._look(pictures[int(part) - 1]))
            else:
                # As in the authors' code, each piece of text begins with <s>.
                ids = self.processor.tokenizer(part)["input_ids"]
                parts.append(embed(torch.tensor(ids, device=self.model.device)))
        sequence = torch.cat(parts)[None]
        mask = torch.ones(sequence.shape[:2], dtype=torch.long, device=sequence.device)
        return {"inputs_embeds": sequence, "attention_mask": mask}

    def _rendered(self, prompt: Prompt) -> str:
        words = [f"{prompt.system}\n"] if prompt.system else []
        pictures = 0
        for part in prompt.parts:
            pictures += not isinstance(part, str)
            words.append(part if isinstance(part, str) else f"<|image_{pictures}|>\n")
        return f"<|user|>\n{''.join(words)}<|end|>\n<|assistant|>\n{prompt.answer}"

    def _look(self, picture: Image) -> Tensor:
        """The picture's tokens, (n, width): the tiles row by row, then the scaled-down whole."""
        import torch

        pixels, rows, columns = _pixels(picture)
        pixels = pixels.to(self.model.device, self.model.dtype)
        seen = self.eyes["clip"](pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        count, patches, width = seen.shape
        side = math.isqrt(patches) // 2
        # Merge 2x2 patches into one token.
        merged = seen.reshape(count, side, 2, side, 2, width).permute(0, 1, 3, 2, 4, 5)
        merged = merged.reshape(count, side, side, 4 * width)
        tiles = merged[1:].reshape(rows, columns, side, side, 4 * width).permute(0, 2, 1, 3, 4)
        tiles = tiles.reshape(rows * side, columns * side, 4 * width)
        projected: Tensor = self.eyes["projection"](
            torch.cat([self._lines(tiles), self.eyes.glb_GN[0], self._lines(merged[0])])
        )
        return projected

    def _lines(self, grid: Tensor) -> Tensor:
        """The grid's rows one after another, each followed by the newline token."""
        import torch

        return torch.cat([grid, self.eyes.sub_GN[0].expand(len(grid), 1, -1)], dim=1).flatten(0, 1)


def _configurations(raw: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The language model's configuration, and the vision tower's shape."""
    from transformers import Phi3Config

    known = {*Phi3Config().to_dict(), "rope_scaling", "rope_theta", "original_max_position_embeddings"}
    ours = {"model_type", "architectures", "torch_dtype", "dtype", "transformers_version"}
    kept = {name: value for name, value in raw.items() if name in known - ours}
    if raw.get("rope_scaling"):
        original = raw["original_max_position_embeddings"]
        longrope = {"type": "longrope", "rope_type": "longrope", "original_max_position_embeddings": original}
        kept["rope_scaling"] = {**raw["rope_scaling"], **longrope}
    return Phi3Config(**kept), {**CLIP_L_14_336, **raw.get("vision_config", {})}


def _small(config: Any) -> Any:
    from transformers import Phi3Config

    small = {"num_hidden_layers": 1, "vocab_size": 8, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    return Phi3Config(**{**config.to_dict(), **small})


def _build(config: Any, vision: Mapping[str, Any]) -> Any:
    from torch import nn, zeros
    from transformers import CLIPVisionConfig, CLIPVisionModel, Phi3ForCausalLM

    width = 4 * vision["hidden_size"]
    projection = nn.Sequential(
        nn.Linear(width, config.hidden_size),
        nn.GELU(),
        nn.Linear(config.hidden_size, config.hidden_size),
    )
    clip = CLIPVisionModel(CLIPVisionConfig(**vision))
    whole = nn.ModuleDict({"lm": Phi3ForCausalLM(config), "clip": clip, "projection": projection})
    whole.register_parameter("glb_GN", nn.Parameter(zeros(1, 1, width)))
    whole.register_parameter("sub_GN", nn.Parameter(zeros(1, 1, 1, width)))
    return whole


def _renamed(name: str) -> str:
    """The name here of a published tensor."""
    eyes = "model.vision_embed_tokens."
    if not name.startswith(eyes):
        return f"lm.{name}"
    name = name.removeprefix(eyes).replace("img_projection.", "projection.")
    return re.sub(r"^img_processor\.(vision_model\.)?", "clip.", name)


def _pixels(picture: Image) -> tuple[Tensor, int, int]:
    """(1 + rows * columns, 3, 336, 336), the scaled-down whole first; and how many rows and columns of tiles."""
    import numpy as np
    import torch

    values = torch.from_numpy(np.asarray(_fitted(picture), dtype=np.float32) / 255).permute(2, 0, 1)
    values = (values - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
    small = torch.nn.functional.interpolate(values[None], size=(TILE, TILE), mode="bicubic")
    rows, columns = values.shape[1] // TILE, values.shape[2] // TILE
    tiles = values.reshape(3, rows, TILE, columns, TILE).permute(1, 3, 0, 2, 4).reshape(-1, 3, TILE, TILE)
    return torch.cat([small, tiles]), rows, columns


def _fitted(picture: Image) -> Image:
    """The picture scaled to the largest grid of at most MAX_TILES tiles, padded with white."""
    from PIL import Image

    picture = picture.convert("RGB")
    tall = picture.width < picture.height
    if tall:
        picture = picture.transpose(Image.Transpose.TRANSPOSE)
    ratio = picture.width / picture.height
    columns = 1
    while (columns + 1) * math.ceil((columns + 1) / ratio) <= MAX_TILES:
        columns += 1
    width = columns * TILE
    height = max(1, int(width / ratio))
    rows = math.ceil(height / TILE)
    canvas = Image.new("RGB", (width, rows * TILE), "white")
    scaled = picture.resize((width, height), Image.Resampling.BILINEAR)
    canvas.paste(scaled, (0, (rows * TILE - height) // 2))
    return canvas.transpose(Image.Transpose.TRANSPOSE) if tall else canvas
