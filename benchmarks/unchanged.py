"""How much faster an unchanged catalogue is checked than it was indexed: `python -m benchmarks.unchanged`.

    python -m benchmarks.unchanged [--images 500] [--model bundled|base]

Runs `shopsearch_reindex --here` twice, on SQLite and Milvus Lite's server, and checks that the second run embeds and
writes nothing. ``base`` has the size of Visualized BGE base and random weights: it is as slow as the real model but
finds nothing. The results are in docs/why.md.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

BASE = {
    "model_type": "bert",
    "vocab_size": 30_522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3_072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--model", choices=("bundled", "base"), default="bundled")
    options = parser.parse_args()
    from tests.services.milvus import MilvusLiteProcess

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = _random_base(folder / "model") if options.model == "base" else ""
        milvus = MilvusLiteProcess(folder / "milvus").start()
        try:
            _set_up(folder, milvus.uri, model)
            print(json.dumps({"model": options.model, **measure(options.images)}, indent=2))
        finally:
            milvus.stop()


def measure(images: int) -> dict[str, Any]:
    from unittest.mock import patch

    from django.core.management import call_command

    from benchmarks.rebuild_roles import shop
    from shopsearch.backends import get_embedder, get_vector_store
    from shopsearch.types import Query

    call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)
    shop(range(images))
    get_embedder().embed([Query(text="loaded")])
    calls = {"embedded": 0, "upserted": 0}
    embed, upsert = type(get_embedder()).embed, type(get_vector_store()).upsert

    def counted_embed(self: Any, queries: Any) -> Any:
        calls["embedded"] += len(queries)
        return embed(self, queries)

    def counted_upsert(self: Any, collection: str, entities: Any) -> None:
        calls["upserted"] += len(entities)
        upsert(self, collection, entities)

    def reindexed() -> dict[str, float]:
        calls.update(embedded=0, upserted=0)
        began = time.perf_counter()
        call_command("shopsearch_reindex", index="shopsearch_productimage", here=True, verbosity=0)
        return {"seconds": round(time.perf_counter() - began, 3), **calls}

    with (
        patch.object(type(get_embedder()), "embed", counted_embed),
        patch.object(type(get_vector_store()), "upsert", counted_upsert),
    ):
        first, again = reindexed(), min((reindexed() for _ in range(3)), key=lambda each: each["seconds"])
    return {
        "images": images,
        "first": first,
        "again, the best of three": again,
        "times faster": round(first["seconds"] / again["seconds"]),
    }


def _set_up(folder: Path, uri: str, model: str) -> None:
    options = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db"), "OPTIONS": options}
    embedder = {
        "BACKEND": "shopsearch.embedders.visualized_bge.VisualizedBGE",
        "OPTIONS": {"model": model} if model else {},
    }
    store = {"BACKEND": "shopsearch.vector_stores.milvus.MilvusStore", "OPTIONS": {"uri": uri}}
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "TEST_DATABASE": json.dumps(database),
        "TEST_MEDIA_ROOT": str(folder / "media"),
        "TEST_SHOPSEARCH": json.dumps({"EMBEDDER": embedder, "VECTOR_STORE": store}),
    }
    import django

    django.setup()


def _random_base(folder: Path) -> str:
    """A folder with random weights of Visualized BGE base's shape, and the bundled tokenizer."""
    import torch
    from safetensors.torch import save_file

    from shopsearch.embedders import model_folder
    from shopsearch.embedders.visualized_bge.eva02 import Eva02Config
    from shopsearch.embedders.visualized_bge.vista import Vista

    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((model_folder.BUNDLED / "tokenizer.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(BASE))
    read = model_folder.read(folder)
    torch.manual_seed(0)
    vision = Eva02Config(image_size=read.preprocessing.size, **read.tower)
    model = Vista(text=BASE, vision=vision, image_token_type=False)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, read.weights)
    return str(folder)


if __name__ == "__main__":
    main()
