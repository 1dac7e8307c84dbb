"""Checkpoints of flax: a pickle of one bytes object, in which MessagePack encodes a tree of arrays."""

from __future__ import annotations

import pickle  # nosec B403 # for _BytesOnly, which refuses every name
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.exceptions import ImproperlyConfigured

from shopsearch import conf

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ARRAY, SCALAR = 1, 3
"""The MessagePack extension types that flax uses for arrays."""
BFLOAT16 = "bfloat16"


def read(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The arrays by their path in the tree, joined with "/", as float32. Nothing in the file is run.

    Raises ImproperlyConfigured if the file is missing, truncated, or holds anything but bytes with a tree of arrays,
    and if msgpack is not installed.
    """
    conf.require_packages("msgpack")
    import msgpack

    if not path.is_file():
        raise ImproperlyConfigured(f"There are no weights at {path}; download them, or correct the path.")
    try:
        with path.open("rb") as file:
            packed = _BytesOnly(file).load()
    except Exception as error:  # the file may come from anywhere and cause any error
        raise ImproperlyConfigured(
            f"The weights {path} are truncated, or hold more than bytes, which is never loaded."
        ) from error
    if not isinstance(packed, bytes):
        raise ImproperlyConfigured(f"The weights {path} hold a {type(packed).__name__}, not flax's bytes.")
    try:
        return dict(_leaves(msgpack.unpackb(packed, ext_hook=_array), ()))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ImproperlyConfigured(
            f"The weights {path} are not a tree of arrays as flax writes it: {error}."
        ) from error


class _BytesOnly(pickle.Unpickler):
    """Refuses every class and function, so a pickle cannot run anything."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"{module}.{name} is refused")


def _array(kind: int, content: bytes) -> npt.NDArray[np.float32]:
    import msgpack
    import numpy as np

    if kind not in (ARRAY, SCALAR):
        raise ValueError(f"it holds an extension of kind {kind}")
    shape, name, numbers = msgpack.unpackb(content)
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
        raise TypeError(f"{'/'.join(path) or 'it'} is not an array")
