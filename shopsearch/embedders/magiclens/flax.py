"""Checkpoints of flax: a pickle of one string of bytes, which is MessagePack, which is a tree of arrays."""

from __future__ import annotations

import pickle  # nosec B403 # for _BytesOnly, which refuses every name
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_DEPTH = 32
ARRAY, SCALAR = 1, 3
"""The kinds of MessagePack extension that flax writes arrays as."""
BFLOAT16 = "bfloat16"
FORMATS = {
    **{0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"},
    **{0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"},
}
"""Numbers by their first byte."""
LENGTHS = {1: ">B", 2: ">H", 4: ">I"}


def read(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The arrays by their path in the tree, joined with "/", as float32. Nothing in the file is run.

    Raises ImproperlyConfigured when the file is missing, truncated, or holds anything but bytes with a tree of arrays.
    """
    if not path.is_file():
        raise ImproperlyConfigured(f"There are no weights at {path}; download them, or correct the path.")
    try:
        with path.open("rb") as file:
            packed = _BytesOnly(file).load()
    except Exception as error:  # whatever the file provokes: it may come from anywhere
        raise ImproperlyConfigured(
            f"The weights {path} are truncated, or hold more than bytes, which is never loaded."
        ) from error
    if not isinstance(packed, bytes):
        raise ImproperlyConfigured(f"The weights {path} hold a {type(packed).__name__}, not flax's bytes.")
    try:
        reader = _Reader(packed)
        tree = reader.value()
        if not isinstance(tree, dict) or reader.place != len(packed):
            raise ValueError("it is not one tree")
        return dict(_leaves(tree, ()))
    except (ValueError, TypeError, OverflowError, RecursionError, struct.error) as error:
        raise ImproperlyConfigured(
            f"The weights {path} are not a tree of arrays as flax writes it: {error}."
        ) from error


class _BytesOnly(pickle.Unpickler):
    """Knows no class and no function, so that a pickle can make it do nothing."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name} is refused")


class _Reader:
    """Values of MessagePack, one after the other. Raises ValueError where there are none."""

    def __init__(self, packed: bytes | memoryview) -> None:
        self.packed = memoryview(packed)
        self.place = 0

    def take(self, count: int) -> memoryview:
        taken = self.packed[self.place : self.place + count]
        if len(taken) < count:
            raise ValueError("it is truncated")
        self.place += count
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def value(self, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        first = self.number(">B")
        if first <= 0x7F:
            return first
        if first >= 0xE0:
            return first - 0x100
        if first in FORMATS:
            return self.number(FORMATS[first])
        if first in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[first]
        return self.sized(first, depth)

    def sized(self, first: int, depth: int) -> Any:
        if first <= 0x8F or first in (0xDE, 0xDF):
            count = first & 0x0F if first <= 0x8F else self.number(LENGTHS[2 << (first - 0xDE)])
            return {self.key(depth): self.value(depth + 1) for _ in range(count)}
        if first <= 0x9F or first in (0xDC, 0xDD):
            count = first & 0x0F if first <= 0x9F else self.number(LENGTHS[2 << (first - 0xDC)])
            return [self.value(depth + 1) for _ in range(count)]
        if first <= 0xBF or 0xD9 <= first <= 0xDB:
            count = first & 0x1F if first <= 0xBF else self.number(LENGTHS[1 << (first - 0xD9)])
            return bytes(self.take(count)).decode()
        if 0xC4 <= first <= 0xC6:
            return self.take(self.number(LENGTHS[1 << (first - 0xC4)]))
        if 0xC7 <= first <= 0xC9:
            count = self.number(LENGTHS[1 << (first - 0xC7)])
            return self.extension(self.number(">b"), count)
        if 0xD4 <= first <= 0xD8:
            return self.extension(self.number(">b"), 1 << (first - 0xD4))
        raise ValueError(f"no value begins with {first:#x}")

    def key(self, depth: int) -> str:
        key = self.value(depth + 1)
        if not isinstance(key, str):
            raise TypeError(f"{key!r} is no name")
        return key

    def extension(self, kind: int, count: int) -> npt.NDArray[np.float32]:
        import numpy as np

        if kind not in (ARRAY, SCALAR):
            raise ValueError(f"it holds an extension of kind {kind}")
        shape, name, numbers = _Reader(self.take(count)).value()
        if name == BFLOAT16:
            return (np.frombuffer(numbers, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
        if name not in ("float16", "float32", "float64"):
            raise ValueError(f"it holds numbers of type {name}")
        return np.frombuffer(numbers, np.dtype(name).newbyteorder("<")).reshape(shape).astype(np.float32)


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    import numpy as np

    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield from _leaves(branch, (*path, name))
    elif isinstance(tree, np.ndarray):
        yield "/".join(path), tree
    else:
        raise TypeError(f"{'/'.join(path)} is not an array")
