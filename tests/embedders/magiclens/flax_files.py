"""Writes what flax writes: MessagePack of a tree of arrays, in a pickle of bytes."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def tree(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays by path, joined with "/", as the tree they come from."""
    root: dict[str, Any] = {}
    for path, array in arrays.items():
        *branches, leaf = path.split("/")
        place = root
        for branch in branches:
            place = place.setdefault(branch, {})
        place[leaf] = array
    return root


def write(path: Path, arrays: Mapping[str, Any]) -> Path:
    """As MagicLens's authors give their weights away."""
    path.write_bytes(pickle.dumps(packed({"params": tree(arrays)})))
    return path


def packed(value: Any) -> bytes:
    if isinstance(value, dict):
        pairs = b"".join(packed(key) + packed(each) for key, each in value.items())
        return (
            bytes([0x80 + len(value)]) if len(value) < 16 else struct.pack(">BH", 0xDE, len(value))
        ) + pairs
    if isinstance(value, tuple | list):
        return bytes([0x90 + len(value)]) + b"".join(map(packed, value))
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0xA0 + len(text)]) if len(text) < 32 else bytes([0xD9, len(text)])) + text
    if isinstance(value, bytes):
        return _sized(0xC4, len(value)) + value
    if isinstance(value, int):
        return bytes([value]) if value < 0x80 else struct.pack(">BI", 0xCE, value)
    array = np.asarray(value)
    inner = packed((array.shape, array.dtype.name, array.tobytes()))
    return _sized(0xC7, len(inner)) + b"\x01" + inner


def _sized(first: int, length: int) -> bytes:
    for place, (form, limit) in enumerate([(">BB", 1 << 8), (">BH", 1 << 16), (">BI", 1 << 32)]):
        if length < limit:
            return struct.pack(form, first + place, length)
    raise ValueError(length)
