"""Decodes a picture in a process of its own, whose memory and time the system limits.

For formats whose header does not tell how much the decoder will take: an AVIF of 5 KB that lied about its size made its
decoder take 850 MB. A picture that crashes the process, or makes it exceed its limits, is refused.

Starting a process takes ten times as long as decoding an ordinary picture, so up to MAX_IDLE processes are kept, each
for MAX_PICTURES pictures or until one is refused.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopsearch.conf import settings
from shopsearch.exceptions import ImageTooLarge, ImageUnreadable
from shopsearch.exceptions import gettext_noop as _
from shopsearch.images.decoding import MAX_SIDE

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)
SECONDS = 10
"""The limit for each picture in clock time: a busy machine may take this long."""
PROCESSOR_SECONDS = 1.25
"""The limit for each picture in processor time. The most pixels that an AVIF may have take 0.5 s."""
MEMORY_BYTES = 270 * 1024 * 1024
"""What the process may take on top of what it has when it starts."""
MAX_IDLE = 2
"""How many processes are kept for the next picture."""
MAX_PICTURES = 200
"""How many pictures a process decodes before it ends."""

MAX_ANSWER_BYTES = 64 * 1024
MAX_PIXELS_BYTES = 3 * MAX_SIDE * MAX_SIDE
"""What is read of an answer: the process may be a stranger's by then, and write for ever."""

_LIMITS = ("MAX_IMAGE_BYTES", "MAX_IMAGE_PIXELS")
_ODD_PLACE = re.compile(r"%(?!\(\w+\)s)")
"""In a message, anything but the plain place of a value: a width makes gigabytes of a byte."""
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")
"""What a Python may need to start. The rest is not passed on: an environment has secrets in it."""


def decode(content: bytes, formats: list[str], share: float = 1.0) -> Image:
    """What ``decoding.decode_here`` returns and raises, within SECONDS and MEMORY_BYTES, whatever the file does.

    ``share`` of PROCESSOR_SECONDS and of the pixels is for this picture.
    """
    from PIL import Image

    limits = {"IMAGE_FORMATS": formats} | {name: getattr(settings, name) for name in _LIMITS}
    limits["share"] = share
    try:
        process = _take()
    except OSError as error:
        logger.error("No process can be started to decode a picture in: %s", error)
        raise ImageUnreadable(_("The picture cannot be read here; save it as JPEG and try again.")) from error
    answered = False
    try:
        answer, pixels = process.decode(content, limits)
        if "size" in answer:
            width, height = answer["size"]
            if 3 * width * height != len(pixels):  # or Pillow would first fill memory for that size
                raise ValueError("its picture has another size than it says")
            picture = Image.frombytes("RGB", (width, height), pixels)
            answered = True
            return picture
        kind = {each.__name__: each for each in (ImageTooLarge, ImageUnreadable)}[answer["refused"]]
        message = str(answer["message"])
        refusal = kind(message, **answer["values"])
        # The process may be a stranger's by now: its values fit its message, and are as long as they are, or it is not
        # believed.
        if _ODD_PLACE.search(message):
            raise ValueError("its message asks for more than its values")
        str(refusal)
    except TimeoutError as error:
        raise ImageUnreadable(
            _("The picture takes too long to read; save it as JPEG and try again.")
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.info("A decoder ended without a picture: %s", error)
        raise ImageUnreadable(
            _("The picture is broken, or takes too much memory; save it as a new JPEG and try again.")
        ) from error
    finally:
        _give_back(process, answered=answered)
    raise refusal


class _Decoder:
    """A process that decodes one picture after another: ``shopsearch.images.__main__`` has its other end."""

    def __init__(self) -> None:
        self.pictures = 0
        self._process = subprocess.Popen(  # noqa: S603
            [_python(), "-B", "-P", "-m", __package__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise OSError("the process has no pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def decode(self, content: bytes, limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """What the process answers, and the pixels.

        Raises TimeoutError after SECONDS or PROCESSOR_SECONDS, OSError if it died of something else.
        """
        self.pictures += 1
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()  # this ends the reading and writing below

        timer = threading.Timer(SECONDS, end)
        timer.daemon = True
        timer.start()
        try:
            self._stdin.write(json.dumps({**limits, "bytes": len(content)}).encode() + b"\n" + content)
            self._stdin.flush()
            answer = json.loads(self._stdout.readline(MAX_ANSWER_BYTES))
            count = int(answer.get("bytes", 0))
            if not 0 <= count <= MAX_PIXELS_BYTES:
                raise ValueError("its picture is larger than any may be")
            pixels = self._stdout.read(count)
        except (OSError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            if late.is_set() or self._was_too_long():
                raise TimeoutError from error
            raise OSError("it died, or its answer makes no sense") from error
        finally:
            timer.cancel()
        return answer, pixels

    def _was_too_long(self) -> bool:
        """Whether the system ended the process for taking PROCESSOR_SECONDS."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=1) == -signal.SIGPROF
        return False

    def end(self) -> None:
        self._process.kill()
        self.let_go()
        self._process.wait()

    def let_go(self) -> None:
        """Close this process's ends of the pipes. The decoder ends when nobody holds them open."""
        for pipe in (self._stdin, self._stdout):
            with suppress(OSError):
                pipe.close()


_lock = threading.Lock()
_idle: list[_Decoder] = []
_all: set[_Decoder] = set()


def _take() -> _Decoder:
    with _lock:
        if _idle:
            return _idle.pop()
    decoder = _Decoder()
    with _lock:
        _all.add(decoder)
    return decoder


def _give_back(decoder: _Decoder, *, answered: bool) -> None:
    with _lock:
        if answered and decoder.pictures < MAX_PICTURES and len(_idle) < MAX_IDLE:
            _idle.append(decoder)
            return
        _all.discard(decoder)
    decoder.end()


def close() -> None:
    """End the processes that wait for a picture."""
    with _lock:
        ended = list(_idle)
        _all.difference_update(ended)
        _idle.clear()
    for decoder in ended:
        decoder.end()


def _after_fork() -> None:
    # The decoders are the parent's: if a child used them too, it could read another picture's pixels.
    global _lock
    _lock = threading.Lock()
    for decoder in _all:
        decoder.let_go()
    _all.clear()
    _idle.clear()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _python() -> str:
    """The interpreter. In a server that embeds Python, sys.executable is the server."""
    program = Path(sys.executable or "")
    known = program.name.startswith(("python", "pypy"))
    return str(program if known else Path(sys.prefix) / "bin" / "python3")


def _environment() -> dict[str, str]:
    places = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(places)}
