"""The decoding process: reads a file from standard input and writes the picture's pixels, within limits of its own."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

from shopsearch.exceptions import ImageError
from shopsearch.images import decoding
from shopsearch.images.sandbox import MEMORY_BYTES, SECONDS


def main() -> None:
    from django.conf import settings as django_settings

    limits = json.loads(sys.argv[1])
    django_settings.configure(SHOPSEARCH=limits)
    with suppress(ImportError):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # every thread of a decoder takes memory of its own
    _bound()
    answer: dict[str, object]
    try:
        picture = decoding.decode_here(sys.stdin.buffer.read(), limits["IMAGE_FORMATS"])
        answer, pixels = {"size": picture.size}, picture.tobytes()
    except ImageError as error:
        answer, pixels = {"refused": type(error).__name__, "detail": str(error)}, b""
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + pixels)


def _bound() -> None:
    """From here on the system refuses this process more memory and time, and any file that it would write."""
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for limit, most in (
        (resource.RLIMIT_AS, taken + MEMORY_BYTES),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))


main()
