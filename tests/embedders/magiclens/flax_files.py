"""Writes what flax writes: MessagePack of a tree of arrays, in a pickle of bytes."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack


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
    return msgpack.packb(value, default=_extension)


def _extension(array: Any) -> msgpack.ExtType:
    return msgpack.ExtType(1, msgpack.packb((array.shape, array.dtype.name, array.tobytes())))
