"""The decoding process: reads picture files from standard input and writes their pixels, within its own limits."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings

from shopsearch.conf import settings
from shopsearch.exceptions import ImageError
from shopsearch.images import decoding
from shopsearch.images.sandbox import MEMORY_BYTES, PROCESSOR_SECONDS


def main() -> None:
    django_settings.configure()
    with suppress(ImportError):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each thread of a decoder needs memory of its own
    _bound_memory()
    while line := sys.stdin.buffer.readline():
        limits = json.loads(line)
        share = limits.pop("share")
        _bound_time(share)
        _answer(sys.stdin.buffer.read(limits.pop("bytes")), limits, share)


def _answer(content: bytes, limits: dict[str, Any], share: float) -> None:
    django_settings.SHOPSEARCH = limits
    settings.forget()
    answer: dict[str, object]
    try:
        picture = decoding.decode_here(content, limits["IMAGE_FORMATS"], share=share)
        pixels = picture.tobytes()
        answer = {"size": picture.size, "bytes": len(pixels)}
    except ImageError as error:
        answer = {"refused": type(error).__name__, "message": error.message, "values": error.values}
        pixels = b""
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.write(pixels)
    sys.stdout.buffer.flush()


def _bound_memory() -> None:
    """From here on the system refuses this process more memory, and any write to a file."""
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for limit, most in (
        (resource.RLIMIT_AS, taken + MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))


def _bound_time(share: float) -> None:
    """From here on the system kills this process when it has used this share of PROCESSOR_SECONDS of a processor."""
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS * share)


main()
