"""The base of rerankers whose model runs on a server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from shopsearch import images
from shopsearch.rerankers.base import Reranker
from shopsearch.rerankers.http import Breaker, Endpoint
from shopsearch.rerankers.ordering import MAX_CHARACTERS

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_CANDIDATES = 25
"""The most on one collage: 1500x1500 pixels are as much as a model can see."""


@dataclass(kw_only=True, eq=False)
class RemoteReranker(Reranker):
    """Asks a server, and raises RerankerError if no answer comes within ``timeout_seconds``; subclasses say what."""

    url: str = ""
    """The base address of the server's API, such as ``http://127.0.0.1:8000/v1``."""
    model: str = ""
    """The server's name for the model."""
    api_key: str = field(default="", repr=False)
    api_key_environment: str = ""
    """The environment variable that has the API key, so that the settings file need not have it."""
    timeout_seconds: float = 20.0
    """The limit of one rerank, with all tries and the pauses between them."""
    retries: int = 1
    """How many further tries follow a failure that may pass."""
    most_failures: int = 5
    """After this many failed reranks in a row, the server is not asked for ``pause_seconds``."""
    pause_seconds: float = 30.0
    titles: bool = True
    """Whether the model is given the products' names. Without them, no text of a seller can influence it."""
    most_candidates: int = 9
    _endpoint: Endpoint = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._endpoint = Endpoint(
            url=self.url,
            api_key=self.api_key,
            api_key_environment=self.api_key_environment,
            timeout_seconds=self.timeout_seconds,
            retries=self.retries,
            breaker=Breaker(max_failures=self.most_failures, pause_seconds=self.pause_seconds),
        )

    def check(self) -> list[checks.CheckMessage]:
        hint = f"See the options of {type(self).__module__}.{type(self).__name__}."
        wrong = [checks.Error(message, hint=hint, id="shopsearch.E022") for message in self._wrong()]
        if wrong or not self._endpoint.exposes_key:
            return [*wrong]
        return [
            checks.Warning(
                f"The reranker's API key travels unencrypted to {self._endpoint.address.host}.",
                hint="Use an address that begins with https://.",
                id="shopsearch.W010",
            )
        ]

    def _wrong(self) -> Iterator[str]:
        try:
            self._endpoint.address  # noqa: B018
        except ImproperlyConfigured as error:
            yield str(error)
        if not 1 <= len(self.model) <= 200:
            yield "The reranker's model must be the server's name for it, of at most 200 characters."
        if not self.timeout_seconds > 0:
            yield "The reranker's timeout_seconds must be above 0."
        if self.retries < 0 or self.most_failures < 1 or self.pause_seconds < 0:
            yield "The reranker's retries and pause_seconds must be 0 or more, most_failures 1 or more."
        if not 2 <= self.most_candidates <= MAX_CANDIDATES:
            yield f"The reranker's most_candidates must be from 2 to {MAX_CANDIDATES}."


def base64_jpeg(picture: Image) -> str:
    """The picture as a base64 JPEG. Only pixels are sent, never a file's path or address."""
    return base64.b64encode(images.jpeg(picture, quality=90)).decode()


def storable(text: str) -> str:
    """A server's text, bounded, without characters that a database cannot store."""
    return (
        text[:MAX_CHARACTERS].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    )
