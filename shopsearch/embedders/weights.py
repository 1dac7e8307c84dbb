"""Files of weights: identified without reading them in full, loaded without running anything in them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from torch import Tensor, dtype, nn

ModelType = TypeVar("ModelType", bound="nn.Module")

MAX_HEADER_BYTES = 100_000_000
SAMPLE_BYTES = 256


def fingerprint(path: Path) -> str:
    """64 hexadecimal digits that depend on the weights, from reading a fraction of the file.

    A checkpoint of ``torch.save`` lists a checksum of each tensor. A safetensors file has none, so its header and a
    sample of each tensor are hashed: enough to notice if even one tensor was trained further.
    """
    digest = hashlib.sha256()
    if path.suffix == ".safetensors":
        header, start = _header(path)
        digest.update(json.dumps(header, sort_keys=True).encode())
        with path.open("rb") as file:
            for begin, end in _extents(header):
                for offset in (begin, (begin + end - SAMPLE_BYTES) // 2, end - SAMPLE_BYTES):
                    file.seek(start + max(begin, offset))
                    digest.update(file.read(min(SAMPLE_BYTES, end - begin)))
    else:
        for member in _members(path):
            digest.update(f"{member.filename.partition('/')[2]}\0{member.file_size}\0{member.CRC}\n".encode())
    return digest.hexdigest()


def load_weights(path: Path) -> Mapping[str, Tensor]:
    """The tensors by name, on the CPU, memory-mapped. A checkpoint that contains code is refused.

    Raises ImproperlyConfigured if the file is missing, truncated or not a plain set of tensors.
    """
    import torch
    from safetensors.torch import load_file

    verify(path)
    try:
        state: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        )
    except Exception as error:  # the file may come from anywhere and cause any error
        raise ImproperlyConfigured(
            f"The weights {path} cannot be read: they are broken, or hold more than tensors, which is never loaded."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ImproperlyConfigured(f"The weights {path} are not a plain set of named tensors.")
    return state


@contextmanager
def weightless() -> Iterator[None]:
    """Modules that are made in this context have no weights yet: ``install`` gives them theirs.

    It spends no memory and no random numbers on weights that are replaced at once. Initialising them on the meta device
    would make torch import its compiler, for two seconds.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Uninitialised(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if getattr(func, "__module__", "") == "torch.nn.init":
                return kwargs["tensor"]
            return func(*args, **kwargs)

    with torch.device("meta"), Uninitialised():
        yield


def install(model: ModelType, state: Mapping[str, Tensor], *, dtype: dtype, device: str) -> ModelType:
    """Give these weights to a model that was made by ``weightless`` or on the meta device; it is then ready to use.

    Raises ImproperlyConfigured if a tensor is missing, left over, or of another shape.
    """
    import torch

    expected = model.state_dict()
    if missing := [key for key in expected if key not in state]:
        raise ImproperlyConfigured(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    if extra := [key for key in state if key not in expected]:
        raise ImproperlyConfigured(f"{len(extra)} tensors do not belong to it, the first is {extra[0]}")
    for key, value in expected.items():
        if value.shape != state[key].shape:
            raise ImproperlyConfigured(
                f"{key} is of shape {tuple(state[key].shape)} and should be {tuple(value.shape)}"
            )
    # Copies, so that the file may be replaced while the model is in use.
    model.load_state_dict(
        {key: value.to(device=device, dtype=dtype, copy=True) for key, value in state.items()}, assign=True
    )
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            # No file has these buffers: transformers' positions, counted from 0, and its token types, all 0.
            if buffer.is_meta:
                values = torch.zeros_like(buffer, device=device)
                if name == "position_ids":
                    values += torch.arange(buffer.shape[-1], device=device)
                setattr(module, name, values)
    return model.to(device).eval().requires_grad_(False)


def verify(path: Path) -> None:
    """Raise ImproperlyConfigured if the file is missing, truncated or of another kind. Reads little of it."""
    if not path.is_file():
        raise ImproperlyConfigured(f"There are no weights at {path}; download them, or correct the path.")
    if path.suffix == ".safetensors":
        _header(path)
    else:
        _members(path)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """A safetensors file's table of contents, and where its tensors begin."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        start = 8 + length
        if size < start or length > MAX_HEADER_BYTES:
            raise ImproperlyConfigured(f"The weights {path} are truncated, or not a safetensors file.")
        try:
            header = json.loads(file.read(length))
            end = max((end for _, end in _extents(header)), default=0)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ImproperlyConfigured(f"The weights {path} are not a safetensors file.") from error
    if size != start + end:
        raise ImproperlyConfigured(
            f"The weights {path} are truncated: {size:,} bytes of {start + end:,}. Download them again."
        )
    return header, start


def _extents(header: Mapping[str, Any]) -> list[tuple[int, int]]:
    spans = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
    return sorted((int(begin), int(end)) for begin, end in spans)


def _members(path: Path) -> list[zipfile.ZipInfo]:
    """The members of a ``torch.save`` checkpoint, which is a ZIP archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise ImproperlyConfigured(
            f"The weights {path} are truncated, or were written neither by torch.save nor as safetensors."
        ) from error
