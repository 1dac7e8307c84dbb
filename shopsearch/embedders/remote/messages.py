"""The messages between web processes and query workers: JSON that names its space and is fully checked when read."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shopsearch.exceptions import EmbedderError, QueryError
from shopsearch.telemetry.logs import get_request_id, sane_request_id
from shopsearch.types import Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Vectors

MAX_PIXELS = 2048 * 2048
"""The most pixels of a picture."""
MAX_CHARACTERS = 100_000
"""The longest text; no model reads that much."""

SENTENCE_BYTES = 64 * 1024
"""Of a reply, beside its vectors."""

_UNIT_LENGTH_WITHIN = 1e-3
_WHATEVER_READING_RAISES = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)


class BadMessage(ValueError):
    """This worker does not understand the request; web processes and workers must run the same version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The queries to embed, at least one, and the id of the web request, for the log."""

    queries: list[Query]
    request_id: str = ""


def write_request(space: str, queries: Sequence[Query]) -> bytes:
    """A request. Pictures are sent as raw pixels: nothing is lost, and there is no decoder to attack."""
    written = [{"text": each.text, **_picture(each.image)} for each in queries]
    return _write({"space": space, "request_id": get_request_id(), "queries": written})


def read_request(content: bytes, space: str) -> Request:
    """A request. Raises BadMessage, also for one of another space."""
    try:
        message = json.loads(content)
        if message["space"] != space:
            raise BadMessage(
                f"The worker embeds in the space {space}, not in {str(message['space'])[:64]!r}."
            )
        queries = [_query(each) for each in message["queries"]]
    except BadMessage:
        raise
    except _WHATEVER_READING_RAISES as error:
        raise BadMessage(BadMessage.__doc__) from error
    if not queries:
        raise BadMessage("The request has no query.")
    return Request(queries=queries, request_id=sane_request_id(message.get("request_id")))


def write_vectors(space: str, vectors: Vectors) -> bytes:
    numbers = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
    return _write({"space": space, "vectors": numbers})


def write_refusal(space: str, message: str, *, is_the_callers: bool = False) -> bytes:
    """Why there are no vectors. ``is_the_callers``: the query is at fault, as words are to a model of pictures."""
    return _write({"space": space, "refused" if is_the_callers else "error": message})


def read_reply(content: bytes, space: str, *, count: int, dimension: int) -> Vectors:
    """The vectors of a reply: shape (count, dimension), unit length.

    Raises QueryError for a query that the embedder refuses, EmbedderError for anything else.
    """
    import numpy as np

    if len(content) > SENTENCE_BYTES + 6 * count * dimension:  # base64 makes 16 bytes of three numbers
        raise EmbedderError(
            f"The query worker's answer has {len(content):,} bytes, more than any answer has."
        )
    try:
        message = json.loads(content)
        if refused := message.get("refused"):
            raise QueryError(str(refused)[:500])
        if error := message.get("error"):
            raise EmbedderError(f"The query worker did not embed the query: {str(error)[:500]}")
        if message["space"] != space:
            raise EmbedderError("The query worker answered with vectors of another space.")
        numbers = [base64.b64decode(each, validate=True) for each in message["vectors"]]
        vectors = np.array([np.frombuffer(each, "<f4") for each in numbers], np.float32)
    except _WHATEVER_READING_RAISES as error:
        raise EmbedderError("The query worker's answer cannot be read.") from error
    if vectors.shape != (count, dimension) or not np.isfinite(vectors).all():
        raise EmbedderError("The query worker's answer is not the vectors that were asked for.")
    if (np.abs(np.linalg.norm(vectors, axis=1) - 1) > _UNIT_LENGTH_WITHIN).any():
        raise EmbedderError("The query worker's vectors are not of unit length.")
    return vectors


def _write(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _picture(image: Image | None) -> dict[str, Any]:
    if image is None:
        return {}
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    pixels = base64.b64encode(rgb.tobytes()).decode()
    return {"image": {"width": rgb.width, "height": rgb.height, "pixels": pixels}}


def _query(message: Any) -> Query:
    from PIL import Image

    text, picture = message["text"], message.get("image")
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise BadMessage(f"A text is a string of at most {MAX_CHARACTERS:,} characters.")
    if picture is None:
        return Query(text=text)
    width, height = picture["width"], picture["height"]
    if type(width) is not int or type(height) is not int or min(width, height) < 1:
        raise BadMessage("A picture's sides are whole numbers from 1 on.")
    if width * height > MAX_PIXELS:
        raise BadMessage(f"A picture has at most {MAX_PIXELS:,} pixels.")
    pixels = base64.b64decode(picture["pixels"], validate=True)
    if len(pixels) != 3 * width * height:
        raise BadMessage("A picture's pixels are three bytes each, neither more nor fewer.")
    return Query(text=text, image=Image.frombytes("RGB", (width, height), pixels))
