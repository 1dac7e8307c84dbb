"""The models that are known to work, and what to know before choosing one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shopsearch.embedders.two_tower import open_clip

TWO_TOWER = "shopsearch.embedders.two_tower.TwoTower"
VISUALIZED_BGE = "shopsearch.embedders.visualized_bge.VisualizedBGE"
PHOTOS = "shopsearch.embedders.photos.PhotoStarter"
BGE_VL = "shopsearch.embedders.bge_vl.BGEVL"
MAGICLENS = "shopsearch.embedders.magiclens.MagicLens"
SENTENCE_TRANSFORMER = "shopsearch.embedders.sentence_transformer.SentenceTransformerEmbedder"
MAGICLENS_BUCKET = "gs://gresearch/magiclens/models"

TOWER_FILES = (
    *("config.json", "tokenizer.json", "tokenizer_config.json"),
    *("preprocessor_config.json", "processor_config.json", "model.safetensors"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model: where to get it, how to set it up, and what it is good at."""

    name: str
    backend: str
    dimension: int
    languages: str
    licence: str
    megabytes: int
    """All files, roughly; in float32 it takes about as much memory."""
    good_at: str
    queries: tuple[str, ...] = ("text", "image", "composed")
    """The kinds of query that it was trained for. Our fusion answers the others too."""
    repositories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What to download from the Hugging Face hub: files, or patterns, by repository."""
    weights: str = ""
    """The file for OPTIONS["weights"], if it is not the folder's own."""
    from_wheels: str = ""
    """The extra whose packages contain the model."""
    elsewhere: str = ""
    """How to get it if it is not on the hub."""

    def options(self, folder: str) -> dict[str, Any]:
        """The embedder's OPTIONS when its files are in ``folder``."""
        if not self.repositories and not self.elsewhere:
            return {}
        return {"model": folder, **({"weights": f"{folder}/{self.weights}"} if self.weights else {})}


MODELS = (
    KnownModel(
        name="bundled",
        backend=VISUALIZED_BGE,
        dimension=128,
        languages="English, Spanish",
        licence="MIT",
        megabytes=4,
        good_at="the demo's pictures and tests; knows little else",
    ),
    KnownModel(
        name="photos",
        backend=PHOTOS,
        dimension=995,
        languages='English; over 100 with OPTIONS = {"language": "multilingual"}',
        licence="Apache-2.0, MIT",
        megabytes=59,
        good_at="photographs, without a model hub: the same product again, colours, kinds of clothes; knows no "
        "brands, and tells similar kinds apart badly",
        from_wheels="photos",
    ),
    KnownModel(
        name="visualized-bge-base",
        backend=VISUALIZED_BGE,
        dimension=768,
        languages="English",
        licence="MIT",
        megabytes=785,
        good_at="words with a picture on both sides; its authors do not recommend it for finding pictures by words",
        repositories={
            "BAAI/bge-base-en-v1.5": ("config.json", "tokenizer.json"),
            "BAAI/bge-visualized": ("Visualized_base_en_v1.5.pth",),
        },
        weights="Visualized_base_en_v1.5.pth",
    ),
    KnownModel(
        name="visualized-bge-m3",
        backend=VISUALIZED_BGE,
        dimension=1024,
        languages="over 100",
        licence="MIT",
        megabytes=3_490,
        good_at="the same in many languages; texts of up to 8,000 tokens; wants a GPU",
        repositories={
            "BAAI/bge-m3": ("config.json", "tokenizer.json"),
            "BAAI/bge-visualized": ("Visualized_m3.pth",),
        },
        weights="Visualized_m3.pth",
    ),
    KnownModel(
        name="bge-vl-base",
        backend=BGE_VL,
        dimension=512,
        languages="English",
        licence="MIT",
        megabytes=600,
        good_at="a picture with words that change it; words to pictures; the fastest on a CPU",
        repositories={"BAAI/BGE-VL-base": TOWER_FILES},
    ),
    KnownModel(
        name="bge-vl-large",
        backend=BGE_VL,
        dimension=768,
        languages="English",
        licence="MIT",
        megabytes=1_710,
        good_at="the same, better; wants a GPU or patience",
        repositories={"BAAI/BGE-VL-large": TOWER_FILES},
    ),
    *(
        KnownModel(
            name=f"magiclens-{size}",
            backend=MAGICLENS,
            dimension=dimension,
            languages="English",
            licence="Apache-2.0 (code), CC BY 4.0 (the rest)",
            megabytes=megabytes,
            good_at="a picture with words that say which related picture is wanted; cannot answer words alone",
            queries=("image", "composed"),
            elsewhere=(
                f"gsutil cp {MAGICLENS_BUCKET}/magic_lens_clip_{size}.pkl . and then manage.py shopsearch_models "
                f"convert magiclens magic_lens_clip_{size}.pkl FOLDER --tokenizer openai/clip-vit-base-patch16"
            ),
        )
        for size, dimension, megabytes in (("base", 512, 666), ("large", 768, 1_861))
    ),
    KnownModel(
        name="clip-vit-base-patch32",
        backend=TWO_TOWER,
        dimension=512,
        languages="English",
        licence="MIT (code); its card advises against untested use",
        megabytes=605,
        good_at="words to pictures, quickly; the model that others are compared with",
        queries=("text", "image"),
        repositories={"openai/clip-vit-base-patch32": (*TOWER_FILES, "pytorch_model.bin")},
    ),
    KnownModel(
        name="siglip-base-patch16-224",
        backend=TWO_TOWER,
        dimension=768,
        languages="English",
        licence="Apache-2.0",
        megabytes=813,
        good_at="words to pictures",
        queries=("text", "image"),
        repositories={"google/siglip-base-patch16-224": TOWER_FILES},
    ),
    KnownModel(
        name="siglip2-base-patch16-224",
        backend=TWO_TOWER,
        dimension=768,
        languages="many",
        licence="Apache-2.0",
        megabytes=1_500,
        good_at="words to pictures in many languages",
        queries=("text", "image"),
        repositories={"google/siglip2-base-patch16-224": TOWER_FILES},
    ),
    *(
        KnownModel(
            name=f"marqo-ecommerce-embeddings-{size.lower()}",
            backend=TWO_TOWER,
            dimension=dimension,
            languages="English",
            licence="Apache-2.0",
            megabytes=megabytes,
            good_at="words to pictures of what shops sell, which it was trained on",
            queries=("text", "image"),
            repositories={f"Marqo/marqo-ecommerce-embeddings-{size}": (*TOWER_FILES, open_clip.CONFIG)},
        )
        for size, dimension, megabytes in (("B", 768, 816), ("L", 1024, 2_612))
    ),
    KnownModel(
        name="qwen3-vl-embedding-2b",
        backend=SENTENCE_TRANSFORMER,
        dimension=2048,
        languages="over 30",
        licence="Apache-2.0",
        megabytes=4_300,
        good_at="all three kinds of query, long texts, pictures with writing in them; needs a GPU",
        repositories={"Qwen/Qwen3-VL-Embedding-2B": ("*.json", "*.jinja", "*.txt", "*.safetensors")},
    ),
)


def known(name: str) -> KnownModel | None:
    """The model of this name."""
    return next((model for model in MODELS if model.name == name), None)
