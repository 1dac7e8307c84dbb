"""One of transformers' own vision-language models: loads it and asks it."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders.torch_model import device_of
from shopsearch.exceptions import RerankerError
from shopsearch.rerankers.prompts import Prompt
from shopsearch.rerankers.vision_models import checkpoints

if TYPE_CHECKING:
    from torch import Tensor

DataType = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(kw_only=True, eq=False)
class VisionLanguageModel:
    """A model and its processor in memory; one thread at a time asks it.

    Decoding is greedy, so the same question always gets the same answer.
    """

    model: Any
    processor: Any
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def load(
        cls, path: Path, *, device: str = "auto", device_map: str = "", dtype: DataType = "auto"
    ) -> VisionLanguageModel:
        """The model in this folder. Raises ImproperlyConfigured, saying what is wrong with the folder."""
        # Idle OpenMP threads would spin and slow other processes. Only works before torch is imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import torch
        from transformers import AutoModelForImageTextToText

        checkpoints.verify(path)
        model_type = checkpoints.native_type(path)
        device = device_of(device)
        if dtype == "auto":
            dtype = "float32" if device == "cpu" and not device_map else "bfloat16"
        auto: Any = AutoModelForImageTextToText
        try:
            processor = checkpoints.load_processor(path, model_type)
            model, found = auto.from_pretrained(
                path,
                dtype=getattr(torch, dtype),
                device_map=device_map or device,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # refused below, with a readable message
                output_loading_info=True,
            )
        except torch.OutOfMemoryError as error:
            raise RerankerError(f"The model {path} does not fit into the memory of {device}.") from error
        except Exception as error:  # the files may come from anywhere and cause any error
            raise ImproperlyConfigured(f"The model {path} cannot be loaded: {error}") from error
        if wrong := len(found["missing_keys"]) + len(found["mismatched_keys"]):
            raise ImproperlyConfigured(
                f"The weights {path} are not those of its {model_type}: {wrong} tensors are missing or misshapen."
            )
        if not _template(processor):
            raise ImproperlyConfigured(
                f"The model {path} has no chat template: it cannot be asked. Use its instruction-tuned version."
            )
        return cls(model=model.eval(), processor=processor)

    def choose(
        self, prompts: Sequence[Prompt], labels: Sequence[str], *, batch_size: int = 1
    ) -> list[list[float]]:
        """For each prompt, the probabilities of the labels as the answer's next token: rows that sum to 1.

        All prompts must begin the answer alike. Takes one forward pass per batch; a batch too large for the memory is
        halved. Raises RerankerError if a single prompt is too large, ImproperlyConfigured if the tokenizer cannot tell
        the labels apart.
        """
        import torch

        choices = self._choices(labels, prompts[0].answer) if prompts else []
        rows: list[list[float]] = []
        while len(rows) < len(prompts):
            batch = prompts[len(rows) : len(rows) + batch_size]
            logits = self._next(batch)
            if logits is None:
                batch_size = len(batch) // 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            values = [logits[:, ids].logsumexp(dim=1) for ids in choices]
            rows += torch.stack(values, dim=1).softmax(dim=1).tolist()
        return rows

    def write(self, prompt: Prompt, *, most_tokens: int) -> str:
        """The model's answer, of at most ``most_tokens`` tokens. Raises RerankerError if it cannot answer."""
        import torch

        try:
            with self._lock, torch.inference_mode():
                inputs = self._inputs([prompt])
                written = self.model.generate(**inputs, do_sample=False, max_new_tokens=most_tokens)
                read = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
        except RuntimeError as error:  # from torch: the GPU is full, or gone
            raise RerankerError(f"The model cannot answer at the moment: {error}") from error
        return str(self.processor.tokenizer.decode(written[0, read:], skip_special_tokens=True))

    def _next(self, prompts: Sequence[Prompt]) -> Tensor | None:
        """Logits of the next token after each prompt, (n, vocabulary), float32; None if memory is short."""
        import torch

        try:
            with self._lock, torch.inference_mode():
                inputs = self._inputs(prompts)
                # Padding on the right changes nothing: a token attends only to the tokens before it.
                last = inputs["attention_mask"].sum(dim=1) - 1
                kept = last.unique()
                logits = self.model(**inputs, use_cache=False, logits_to_keep=kept).logits
                rows = torch.arange(len(prompts), device=logits.device)
                ends: Tensor = logits[rows, torch.searchsorted(kept, last).to(logits.device)]
                return ends.float().cpu()
        except torch.OutOfMemoryError as error:
            if len(prompts) == 1:
                raise RerankerError("The GPU has no memory left for a single question.") from error
            return None
        except RuntimeError as error:
            raise RerankerError(f"The model cannot answer at the moment: {error}") from error

    def _inputs(self, prompts: Sequence[Prompt]) -> Any:
        texts = [self._rendered(prompt) for prompt in prompts]
        bos = self.processor.tokenizer.bos_token
        return self.processor(
            text=texts,
            images=[[part for part in prompt.parts if not isinstance(part, str)] for prompt in prompts],
            padding=True,
            padding_side="right",
            return_tensors="pt",
            add_special_tokens=not (bos and texts[0].startswith(bos)),
        ).to(self.model.device, self.model.dtype)

    def _rendered(self, prompt: Prompt) -> str:
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
            for part in prompt.parts
        ]
        messages = [{"role": "user", "content": content}]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": prompt.system}]})
        # Tell a thinking model not to think: the first thing it writes must be the answer.
        silent = {"enable_thinking": False} if "enable_thinking" in str(_template(self.processor)) else {}
        rendered = self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, **silent
        )
        return f"{rendered}{prompt.answer}"

    def _choices(self, labels: Sequence[str], answer: str) -> list[list[int]]:
        """For each label, the tokens that begin it here, with and without a space; none begins two labels."""
        before = self._ids(f"\n{answer}")
        firsts = []
        for label in labels:
            spelled = [self._ids(f"\n{answer}{space}{label}") for space in ("", " ")]
            firsts.append(
                {
                    ids[len(before)]
                    for ids in spelled
                    if len(ids) > len(before) and ids[: len(before)] == before
                }
            )
        own = [
            sorted(first - set().union(*firsts[:place], *firsts[place + 1 :]))
            for place, first in enumerate(firsts)
        ]
        if not all(own):
            raise ImproperlyConfigured(
                f"The model's tokenizer cannot tell {', '.join(labels)} apart by one token; use another model."
            )
        return own

    def _ids(self, text: str) -> list[int]:
        return list(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])


def _template(processor: Any) -> object:
    return getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
