"""Decode a picture in a process of its own, whose memory and time the system bounds.

For formats of which no header says what their decoders take: an AVIF of 5 KB that lies about its size made its decoder
take 850 MB. What dies there, or is killed for taking too much, is a picture that was refused.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shopsearch.conf import settings
from shopsearch.exceptions import ImageTooLarge, ImageUnreadable

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)
SECONDS = 10
MEMORY_BYTES = 270 * 1024 * 1024
"""That the process may take beside what it has when it starts."""

_LIMITS = ("MAX_IMAGE_BYTES", "MAX_IMAGE_PIXELS")
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")
"""What a Python may need to start. The rest stays here: an environment has secrets in it."""


def decode(content: bytes, formats: list[str]) -> Image:
    """What ``decoding.decode_here`` returns and raises, within SECONDS and MEMORY_BYTES, whatever the file does."""
    from PIL import Image

    limits = {"IMAGE_FORMATS": formats} | {name: getattr(settings, name) for name in _LIMITS}
    try:
        done = subprocess.run(  # noqa: S603
            [_python(), "-B", "-P", "-m", __package__, json.dumps(limits)],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ImageUnreadable("The picture takes too long to read; save it as JPEG and try again.") from error
    except OSError as error:
        logger.error("No process can be started to decode a picture in: %s", error)
        raise ImageUnreadable("The picture cannot be read here; save it as JPEG and try again.") from error
    header, _, pixels = done.stdout.partition(b"\n")
    try:
        answer = json.loads(header)
        if "size" in answer:
            return Image.frombytes("RGB", tuple(answer["size"]), pixels)
        refusal = {each.__name__: each for each in (ImageTooLarge, ImageUnreadable)}[answer["refused"]]
        said = str(answer["detail"])
    except (ValueError, KeyError, TypeError) as error:
        logger.info("A decoder ended with status %d and without a picture.", done.returncode)
        raise ImageUnreadable(
            "The picture is broken, or takes too much memory; save it anew as JPEG and try again."
        ) from error
    raise refusal(said)


def _python() -> str:
    """The interpreter. Where a server embeds one, the program that runs is that server."""
    program = Path(sys.executable or "")
    known = program.name.startswith(("python", "pypy"))
    return str(program if known else Path(sys.prefix) / "bin" / "python3")


def _environment() -> dict[str, str]:
    places = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(places)}
