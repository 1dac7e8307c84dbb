"""The authors' outputs in ../shared/parity: cases, inputs, and weights by the rule that its README gives."""

from __future__ import annotations

import json
import re
import zlib
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shopsearch.types import Query
from tests import SHARED

PARITY = SHARED / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason="../shared/parity is absent")


@cache
def case(name: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((PARITY / "cases" / f"{name}.json").read_text("utf-8"))
    return described


@cache
def inputs() -> dict[str, Any]:
    described: dict[str, Any] = json.loads((PARITY / "inputs.json").read_text("utf-8"))
    return described


def arrays(path: str) -> dict[str, Any]:
    """The arrays of a file of cases/, by name."""
    with np.load(PARITY / path) as loaded:
        return dict(loaded)


def weights(name: str) -> dict[str, Any]:
    """The case's tensors, under the authors' keys; each is checked against its checksum."""
    return weights_of(case(name))


def weights_of(described: dict[str, Any]) -> dict[str, Any]:
    """The same of a case that is described elsewhere."""
    generated = {}
    for key, shape, _, checksum, *_ in described["keys"]:
        values = _values(described, key, shape)
        assert zlib.crc32(values.astype("<f4").tobytes()) == checksum, key
        generated[key] = values
    return generated


def _values(rule_of: dict[str, Any], key: str, shape: list[int]) -> Any:
    rule = next(rule for rule in rule_of["rules"] if re.search(rule["match"], key))
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.random.Philox(key=zlib.crc32((rule_of["salt"] + key).encode())).random_raw(count)
    unit = ((np.asarray(raw, np.uint64) >> np.uint64(40)).astype(np.float64) + 0.5) / 2**23 - 1.0
    gain = rule["gain"] / np.sqrt(np.prod([shape[axis] for axis in rule.get("fan_in_axes", [])]))
    values = np.asarray(rule.get("offset", 0.0) + gain * (unit * np.sqrt(3.0)), np.float32)
    return values.reshape(shape)


def query(key: str) -> Query:
    """The query of an expected vector: text/<text>, image/<picture> or mm/<picture>/<text>."""
    kind, _, rest = key.partition("/")
    picture, _, text = rest.partition("/") if kind != "text" else ("", "", rest)
    image = Image.open(PARITY / "pictures" / picture).convert("RGB") if picture else None
    return Query(text=inputs()["texts"][text] if text else "", image=image)


def token_ids(name: str, text: str) -> list[int]:
    """What the authors' model read of a text."""
    ids: list[int] = inputs()["token_ids"][case(name)["tokenizer"]][text]
    limit = case(name)["limit_text_tokens"]
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
