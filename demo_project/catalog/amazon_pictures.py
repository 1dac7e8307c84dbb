"""Where an import has its pictures from: the addresses in its records, or a folder in which they lie already."""

from __future__ import annotations

import random
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from shopsearch.conf import settings
from shopsearch.exceptions import ImageUnavailable
from shopsearch.images.download import Downloader

from .amazon_records import Record

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}
MAX_WAIT_SECONDS = 20.0
FIRST_WAIT_SECONDS = 0.5
MAX_ARCHIVE_BYTES = 20 * 1024**3
MAX_ARCHIVE_FILES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PictureAddresses:
    """Pictures by their addresses, each tried a few times where another try may help."""

    downloader: Downloader
    retries: int = 3
    stopping: threading.Event = field(default_factory=threading.Event)
    """Ends every wait, and with it every further try."""

    def fetch(self, address: str) -> bytes:
        """Raises ImageUnavailable or ImageTooLarge."""
        for waits in range(self.retries):
            try:
                return self.downloader.fetch(address)
            except ImageUnavailable as error:
                if not error.may_pass:
                    raise
                # Spread, or else all that failed together come again together.
                wait = FIRST_WAIT_SECONDS * 2**waits * random.uniform(0.5, 1.5)
                if error.retry_after_seconds is not None:
                    wait = error.retry_after_seconds
                if self.stopping.wait(min(wait, MAX_WAIT_SECONDS)):
                    raise
        return self.downloader.fetch(address)


class PictureFolder:
    """Pictures of a folder by their files' names, which are the last parts of their addresses."""

    def __init__(self, folder: Path) -> None:
        self.files = {
            path.name: path
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink()
        }

    def fetch(self, address: str) -> bytes:
        """Raises ImageUnavailable."""
        try:
            with self.files[name_of(address)].open("rb") as file:
                return file.read(settings.MAX_IMAGE_BYTES + 1)
        except (KeyError, OSError) as error:
            raise ImageUnavailable(reason=f"the file cannot be read: {error}") from error

    def among(self, record: Record) -> list[str]:
        """The record's pictures that are here: files called like the product, and those of its addresses."""
        named = [f"{record.sku}{suffix}" for suffix in sorted(SUFFIXES)]
        return [each for each in (*named, *record.pictures) if name_of(each) in self.files]


def name_of(address: str) -> str:
    return PurePosixPath(urlsplit(address).path if "://" in address else address).name


@contextmanager
def unpacked(path: Path, beside: Path) -> Iterator[Path]:
    """The folder itself, or what a .tar or .tar.gz archive holds, unpacked for as long as the block lasts.

    Only pictures are unpacked, each under its own name and no larger than a picture may be. Of the reference's archive
    ``images_folder`` the products' pictures are those in ``images``; what lies above is its query, ``leopard.jpg``.

    Raises OSError or tarfile.TarError when it cannot be read, and when it holds more than MAX_ARCHIVE_BYTES or
    MAX_ARCHIVE_FILES in all: a few megabytes may unpack to whatever fills the disk.
    """
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(dir=beside, prefix="pictures-") as name:
        folder = Path(name)
        size = 0
        with tarfile.open(path, "r|*") as archive:
            for number, member in enumerate(archive, start=1):
                size += member.size  # what is skipped has to be unpacked, too
                if size > MAX_ARCHIVE_BYTES or number > MAX_ARCHIVE_FILES:
                    raise tarfile.ReadError(
                        f"it unpacks to more than {MAX_ARCHIVE_BYTES / 1024**3:g} GB or {MAX_ARCHIVE_FILES:,} files; "
                        "unpack it yourself and name the folder"
                    )
                inside = PurePosixPath(member.name)
                if (
                    not member.isfile()
                    or inside.suffix.lower() not in SUFFIXES
                    or inside.name.startswith(".")
                ):
                    continue
                if member.size > settings.MAX_IMAGE_BYTES or (file := archive.extractfile(member)) is None:
                    continue
                to = folder / "images" if inside.parent.name == "images" else folder
                to.mkdir(exist_ok=True)
                with file, (to / inside.name).open("wb") as copy:
                    shutil.copyfileobj(file, copy)
        yield folder
