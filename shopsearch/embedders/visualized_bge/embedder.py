"""Visualized BGE: one model for words, pictures and both; the bundled small one or the authors'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shopsearch.embedders import hub, model_folder
from shopsearch.embedders.torch_model import TorchEmbedder, read_tokenizer, truncate
from shopsearch.types import Query

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from tokenizers import Tokenizer

    from shopsearch.embedders.visualized_bge.vista import Vista
    from shopsearch.types import Vectors


@dataclass(kw_only=True, eq=False)
class VisualizedBGE(TorchEmbedder):
    """Embeds text, pictures and pairs of both with Visualized BGE (VISTA), on transformers' BERT or XLM-R.

    Without options it is the small model that comes with shopsearch, which knows little but the demo's pictures. For
    the authors' model, name the text model and the authors' file:
    ``{"model": "BAAI/bge-base-en-v1.5", "weights": "/models/Visualized_base_en_v1.5.pth"}``.
    """

    model: str = ""
    """A folder with config.json and tokenizer.json, or a name on the Hugging Face hub; "" is the bundled model."""
    weights: str = ""
    """The file of weights, .pth or .safetensors; "" is the folder's own model.safetensors."""
    compile: str = ""
    """A backend of torch.compile, such as "inductor"; "" compiles nothing. The first calls then take minutes, and
    inductor needs a C++ compiler: it is worth it for a worker that runs for days."""

    family = "visualized_bge"
    packages = ("torch", "tokenizers", "safetensors")
    title = "Visualized BGE"

    @cached_property
    def folder(self) -> model_folder.ModelFolder:
        return model_folder.read(model_folder.find(self.model, revision=self.revision), self.weights)

    @property
    def useful_side(self) -> int:
        return self.folder.preprocessing.useful_side

    def reduced(self, image: Image) -> Image:
        return self.folder.preprocessing.square(image.convert("RGB"))

    def embed_with(self, model: Vista, tokenizer: Tokenizer, queries: Sequence[Query]) -> Vectors:
        import numpy as np

        vectors = np.zeros((len(queries), self.dimension), dtype=np.float32)
        for places, part in self._batches(queries, model, tokenizer):
            vectors[places] = part
        return vectors

    def faults(self) -> list[str]:
        wrong = [*super().faults(), *self.file_faults()]
        if hub.is_on_hub(self.model) and not self.weights:
            wrong.append(
                "Name the file of Visualized BGE's weights: the hub's model is the text model alone."
            )
        return wrong

    def _batches(
        self, queries: Sequence[Query], model: Vista, tokenizer: Tokenizer
    ) -> Iterator[tuple[list[int], Any]]:
        """The vectors of a few queries at a time, with their positions in ``queries``."""
        import numpy as np
        import torch

        ids = []
        for query in queries:
            limit = model.text_limit if query.image is None else model.text_limit_beside_picture
            ids.append(truncate(tokenizer.encode(query.text).ids, limit))
        # Shortest first, because a batch is padded to its longest text.
        order = sorted(range(len(queries)), key=lambda place: len(ids[place]))
        for with_picture in (False, True):
            kind = [place for place in order if (queries[place].image is not None) is with_picture]
            for start in range(0, len(kind), self.batch_size):
                places = kind[start : start + self.batch_size]
                texts = [ids[place] for place in places]
                pictures = [image for place in places if (image := queries[place].image) is not None]
                if pictures:
                    pixels = np.stack([self.folder.preprocessing(image) for image in pictures])
                    part = model.embed_pictures(torch.from_numpy(pixels), texts)
                else:
                    part = model.embed_texts(texts)
                yield places, part.cpu().numpy()

    def build(
        self, state: Mapping[str, torch.Tensor], dtype: torch.dtype, device: str
    ) -> tuple[Vista, Tokenizer]:
        from shopsearch.embedders.visualized_bge.eva02 import Eva02Config
        from shopsearch.embedders.visualized_bge.vista import Vista

        folder = self.folder
        model = Vista.load(
            state,
            text=folder.text,
            vision=Eva02Config(image_size=folder.preprocessing.size, **folder.tower),
            image_token_type=folder.image_token_type,
            dtype=dtype,
            device=device,
        )
        if self.compile:
            for part in (model.visual, model.bge):
                part.compile(backend=self.compile, dynamic=True)  # batches and texts are of any length
        return model, read_tokenizer(folder.path)
