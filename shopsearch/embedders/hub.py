"""The Hugging Face hub: a model's files, whole and as their authors published them, or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from shopsearch import conf


def download(repository: str, patterns: Sequence[str], folder: Path, *, revision: str = "") -> None:
    """Bring the repository's files that match a pattern into ``folder``, each with the checksum that the hub names.

    A download that was stopped goes on where it was, and what is there already is not asked for again. ``revision``
    is a commit; "" is the newest. Raises ImproperlyConfigured with what to do about it.
    """
    conf.require_packages("huggingface_hub")
    from huggingface_hub import HfApi, errors, snapshot_download

    try:
        snapshot_download(
            repository, revision=revision or None, allow_patterns=list(patterns), local_dir=folder
        )
        found = HfApi().verify_repo_checksums(repository, revision=revision or None, local_dir=folder)
    except errors.GatedRepoError as error:
        raise ImproperlyConfigured(
            f"{repository} is open only to those who accepted its terms. Accept them on its page, set HF_TOKEN to a "
            "token of that account, and run this again."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ImproperlyConfigured(
            f"The hub has no {repository}, or it is private: set HF_TOKEN to the token of an account that sees it."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ImproperlyConfigured(f"{repository} has no revision {revision}.") from error
    except Exception as error:  # the network's, the disk's and the hub's other errors have no common root
        raise ImproperlyConfigured(
            f"{repository} cannot be downloaded: {error}. Run this again, and it goes on where it stopped; or copy "
            f"the files from a machine that reaches the hub into {folder}."
        ) from error
    damaged = [
        mismatch["path"]
        for mismatch in found.mismatches
        if any(fnmatch(mismatch["path"], pattern) for pattern in patterns)
    ]
    for path in damaged:
        (folder / path).unlink()
    if damaged:
        raise ImproperlyConfigured(
            f"{', '.join(damaged)} of {repository} came with another checksum than the hub names, and was removed. "
            "Run this again."
        )
