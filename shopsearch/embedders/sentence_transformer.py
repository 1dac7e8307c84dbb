"""Any sentence-transformers model that reads words and pictures, by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders import hub, model_folder
from shopsearch.embedders.preprocessing import without_extremes
from shopsearch.embedders.torch_model import TorchEmbedder
from shopsearch.embedders.two_tower import folder as tower_folder
from shopsearch.embedders.two_tower.embedder import unit
from shopsearch.embedders.weights import fingerprint, verify
from shopsearch.types import Query

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from shopsearch.types import Vectors

SETTINGS = (".json", ".jinja", ".txt", ".model")
"""The files that determine a model's vectors, besides its weights."""
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
PATTERNS = tuple(f"*{ending}" for ending in (*SETTINGS, ".safetensors"))
COMPLETE = (("model.safetensors",), ("model.safetensors.index.json",), ("modules.json",))
"""Signs that a model was downloaded before: one file of weights, several, or those of its modules."""
SMALLEST_EDGE = 32
"""Smaller pictures are enlarged: some processors refuse a side of one pixel, or take it for the channels."""
WIDTHS = ("out_features", "word_embedding_dimension", "embedding_dimension", "projection_dim", "hidden_size")
"""Where the files give the length of a vector; the last module's comes first."""
ARITHMETIC = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceFolder:
    """A model's files, known before its weights are read."""

    path: Path
    dimension: int

    @property
    def weights(self) -> Path:
        """The first file of weights; there may be several."""
        return self.parts[0]

    @property
    def parts(self) -> list[Path]:
        """All files of weights. Raises ImproperlyConfigured if there are none as safetensors."""
        parts = sorted(self.path.rglob("*.safetensors"))
        pickled = [
            file
            for file in sorted(self.path.rglob("*"))
            if file.suffix in PICKLED and not any(part.parent == file.parent for part in parts)
        ]
        if pickled or not parts:
            found = pickled[0] if pickled else self.path
            raise ImproperlyConfigured(
                f"{found} has no weights as safetensors, the only kind that is loaded here."
            )
        return parts

    def fingerprint(self) -> str:
        """Depends on the weights and on the files of settings, but not on the path."""
        digest = hashlib.sha256(f"{ARITHMETIC}\n".encode())
        files = {*self.parts, *(file for file in self.path.rglob("*") if file.suffix in SETTINGS)}
        for file in sorted(files):
            content = (
                fingerprint(file)
                if file.suffix == ".safetensors"
                else hashlib.sha256(file.read_bytes()).hexdigest()
            )
            digest.update(f"{file.relative_to(self.path)} {content}\n".encode())
        return digest.hexdigest()


@dataclass(kw_only=True, eq=False)
class SentenceTransformerEmbedder(TorchEmbedder):
    """Embeds with a multimodal sentence-transformers model, from a folder or the hub, without remote code.

    If the model reads a picture and words at once, it embeds the pair itself. If not, the pair's vector is the mean of
    both unit vectors, weighted by ``text_weight`` and normalised again.
    """

    numbers: int = 0
    """The length of a vector; 0: as the files say."""
    text_weight: float = 0.5
    """The words' weight beside a picture, if the model cannot read pairs. Part of the space."""
    prompt: str = ""
    """The prompt before every query with words, from the model's card. Part of the space."""

    packages = ("torch", "sentence_transformers")
    family = "sentence_transformer"
    title = "model of sentence-transformers"

    @cached_property
    def folder(self) -> SentenceFolder:
        if not self.model:
            raise ImproperlyConfigured("Name the model: a folder, or a model on the Hugging Face hub.")
        path = model_folder.find(self.model, *COMPLETE, optional=PATTERNS, revision=self.revision)
        folder = SentenceFolder(path=path, dimension=self.numbers or _numbers(path))
        for part in folder.parts:
            verify(part)
        return folder

    @cached_property
    def space(self) -> str:
        own = f"{self.folder.fingerprint()} {self.text_weight:.6f} {self.prompt}"
        return f"{self.family}_{self.dimension}_{hashlib.sha256(own.encode()).hexdigest()[:12]}"

    def embed_with(self, model: Any, tokenizer: Any, queries: Sequence[Query]) -> Vectors:
        import numpy as np

        reads_pairs = model.supports(("image", "text"))
        vectors = np.zeros((len(queries), self.dimension), dtype=np.float32)

        def encode(places: Sequence[int], inputs: list[Any], *, prompted: bool) -> Vectors:
            found = np.zeros((len(places), self.dimension), dtype=np.float32)
            if inputs:
                found[:] = model.encode(
                    inputs,
                    prompt=self.prompt if prompted and self.prompt else None,
                    batch_size=self.batch_size,
                    show_progress_bar=False,
                    normalize_embeddings=True,
                )
            return found

        # One kind at a time: models take no mixed batches.
        words = [place for place, query in enumerate(queries) if query.kind == "text"]
        pictures = [place for place, query in enumerate(queries) if query.kind == "image"]
        pairs = [place for place, query in enumerate(queries) if query.kind == "composed"]
        texts = [query.text for query in queries]
        images = [None if query.image is None else _fitted(query.image) for query in queries]
        vectors[words] = encode(words, [texts[place] for place in words], prompted=True)
        vectors[pictures] = encode(pictures, [images[place] for place in pictures], prompted=False)
        texts, images = [texts[place] for place in pairs], [images[place] for place in pairs]
        if reads_pairs:
            both = [{"image": image, "text": text} for image, text in zip(images, texts, strict=True)]
            vectors[pairs] = encode(pairs, both, prompted=True)
        else:
            vectors[pairs] = self.text_weight * encode(pairs, texts, prompted=True) + (
                1 - self.text_weight
            ) * encode(pairs, images, prompted=False)
        return unit(vectors)

    def faults(self) -> list[str]:
        wrong = super().faults()
        if not 0 <= self.text_weight <= 1 or self.numbers < 0:
            wrong.append("text_weight must be from 0 to 1, and numbers at least 0.")
        if self.weights:
            wrong.append("weights has no meaning here: the model's folder holds them.")
        if not hub.is_on_hub(self.model):  # a hub's model is downloaded at first use
            try:
                self.folder.fingerprint()
            except ImproperlyConfigured as error:
                wrong.append(str(error))
        return wrong

    def read_state(self) -> Mapping[str, torch.Tensor]:
        """Empty: sentence-transformers reads the files itself, and only safetensors."""
        return {}

    def build(self, state: Mapping[str, torch.Tensor], dtype: torch.dtype, device: str) -> tuple[Any, None]:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(
            str(self.folder.path),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
        )
        if not {"text", "image"} <= set(model.modalities):
            raise ImproperlyConfigured(f"it reads {' and '.join(map(str, model.modalities))} only")
        numbers = model.get_embedding_dimension()
        if numbers != self.dimension:
            raise ImproperlyConfigured(
                f'its vectors have {numbers} numbers, not {self.dimension}: set OPTIONS["numbers"]'
            )
        return model.eval().requires_grad_(False), None


def _numbers(path: Path) -> int:
    """The length of a vector, from the files. Raises ImproperlyConfigured if they do not say."""
    modules = json.loads((path / "modules.json").read_bytes()) if (path / "modules.json").is_file() else []
    folders = [path / str(module.get("path", "")) for module in reversed(modules)] or [path]
    for folder in folders:
        config = tower_folder.read_json(folder / "config.json")
        for said in (config, config.get("text_config") or {}):
            for name in WIDTHS:
                if isinstance(said.get(name), int):
                    return int(said[name])
    raise ImproperlyConfigured(
        f'{path} does not say how many numbers a vector has: set OPTIONS["numbers"], as the model\'s card says.'
    )


def _fitted(image: Image) -> Image:
    """The picture with a size and proportions that every processor takes."""
    image = without_extremes(image.convert("RGB"))
    scale = SMALLEST_EDGE / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale))) if scale > 1 else image
