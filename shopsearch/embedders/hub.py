"""The Hugging Face hub: a model's files, as their authors published them, or a sentence that says why not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from shopsearch import conf

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_on_hub(model: str) -> bool:
    """Whether ``model`` is not a folder here but could be a model on the Hugging Face hub."""
    return bool(REPOSITORY.fullmatch(model)) and not Path(model).exists()


def local_folder(model: str) -> Path | None:
    """The folder that ``model`` names; None for a model on the hub. Raises ImproperlyConfigured if it is neither."""
    path = Path(model).expanduser()
    if model and path.is_dir():
        return path
    if is_on_hub(model):
        return None
    raise ImproperlyConfigured(
        f"There is no folder {model!r}; name a folder or a model on the Hugging Face hub."
    )


def download(model: str, revision: str, patterns: Sequence[str]) -> Path:
    """The folder of a model on the hub, in the hub's own cache, with the files that match downloaded.

    Raises ImproperlyConfigured, saying what to do.
    """
    with _explained(model, revision, "name a folder that has it"):
        return snapshot(model, revision, patterns, local_files_only=False)


def download_into(folder: Path, model: str, revision: str, patterns: Sequence[str]) -> None:
    """Bring the files that match into ``folder``, each with the checksum that the hub names.

    A download that was stopped goes on where it was. Files that are here already are not downloaded again. ``revision``
    is a commit; "" is the newest. Raises ImproperlyConfigured, saying what to do.
    """
    elsewhere = f"copy the files from a machine that reaches the hub into {folder}"
    with _explained(model, revision, f"run this again, and it goes on where it stopped; or {elsewhere}"):
        from huggingface_hub import HfApi

        snapshot(model, revision, patterns, local_files_only=False, folder=folder)
        found = HfApi().verify_repo_checksums(model, revision=revision or None, local_dir=folder)
    # Two repositories may share the folder: only the files that were asked for are this one's.
    damaged = [
        mismatch["path"]
        for mismatch in found.mismatches
        if any(fnmatch(mismatch["path"], pattern) for pattern in patterns)
    ]
    for path in damaged:
        (folder / path).unlink()
    if damaged:
        raise ImproperlyConfigured(
            f"{', '.join(damaged)} of {model} arrived with another checksum than the hub names, and was removed. "
            "Run this again."
        )


def snapshot(
    model: str, revision: str, patterns: Sequence[str], *, local_files_only: bool, folder: Path | None = None
) -> Path:
    """The folder of a model on the hub, with the files that match. Raises whatever huggingface_hub raises."""
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(
            model,
            revision=revision or None,
            allow_patterns=[*patterns],
            local_files_only=local_files_only,
            local_dir=folder,
        )
    )


@contextmanager
def _explained(model: str, revision: str, way_out: str) -> Iterator[None]:
    conf.require_packages("huggingface_hub")
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise ImproperlyConfigured(
            f"{model} is open only to those who accepted its terms. Accept them on its page, and set HF_TOKEN to a "
            "token of that account."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ImproperlyConfigured(
            f"The hub has no {model}, or it is private: then set HF_TOKEN to the token of an account that sees it."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ImproperlyConfigured(f"{model} has no revision {revision}.") from error
    except Exception as error:  # the hub's other errors, the network's and the disk's have no common root
        raise ImproperlyConfigured(
            f"The model {model} is not on this machine and cannot be downloaded ({error}): {way_out}."
        ) from error
