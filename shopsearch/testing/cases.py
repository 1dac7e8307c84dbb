"""The test case and assertions for a shop's own tests; import them from ``shopsearch.testing``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.files.base import ContentFile
from django.test import TestCase, override_settings

if TYPE_CHECKING:
    from django.db.models import Model
    from PIL.Image import Image

    from shopsearch.registry import ImageIndex
    from shopsearch.search.request import SearchAnswer
    from shopsearch.types import Result

SETTINGS: dict[str, Any] = {
    "EMBEDDER": {"BACKEND": "shopsearch.testing.ColourEmbedder"},
    "QUERY_EMBEDDER": None,
    "QUERY_CACHE_SECONDS": 0,
    "VECTOR_STORE": {"BACKEND": "shopsearch.testing.MemoryStore"},
    "RERANKER": None,
    "THROTTLE_RATE": None,
}
"""For SHOPSEARCH in the settings of tests: no model, no server, no throttle."""

SHOWN = 5
"""How many of the results a failed assertion shows."""


@contextmanager
def stand_ins() -> Iterator[None]:
    """Inside the block, search needs no service; what was indexed is forgotten at the end.

    The project's other SHOPSEARCH settings, such as PAGE_SIZE, stay.
    """
    from django.conf import settings

    with override_settings(SHOPSEARCH={**getattr(settings, "SHOPSEARCH", {}), **SETTINGS}):
        yield


class SearchTestCase(TestCase):
    """A TestCase whose searches need no service; each test starts with an empty vector store."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(stand_ins())

    def assert_finds(self, query: Any, product: Model, **options: Any) -> Result:
        return assert_finds(query, product, **options)


def picture(
    colour: Any = "red", name: str = "picture.png", size: tuple[int, int] = (64, 64)
) -> ContentFile[bytes]:
    """A file for an image field: one colour, by any name or value that Pillow knows."""
    from PIL import Image

    content = BytesIO()
    Image.new("RGB", size, colour).save(content, "PNG")
    return ContentFile(content.getvalue(), name)


def index_saved() -> None:
    """Index what was saved so far, in this process, so that a test needs no worker."""
    from shopsearch.indexing import batch

    for _ in batch.index_pending():
        pass


def assert_finds(
    query: Any,
    product: Model,
    *,
    within: int = 1,
    filters: Mapping[str, object] | None = None,
    index: str = "",
) -> Result:
    """The product is among the first ``within`` results of the query; returns its result.

    ``query`` is words, a picture (a path, bytes, a file or a PIL image), or a pair of both. If the vector store is the
    one in memory, what the test saved is indexed first; any other store is searched as it is.

    Raises AssertionError, saying what was found instead and where the product was; and whatever ``search`` raises.
    """
    from shopsearch.backends import get_vector_store
    from shopsearch.conf import settings
    from shopsearch.registry import get_index
    from shopsearch.search.engine import search
    from shopsearch.testing import MemoryStore

    if isinstance(get_vector_store(), MemoryStore):
        index_saved()
    text, image = _understood(query)
    results = search(text, image, index=index, filters=filters, limit=settings.MAX_PAGE_SIZE)
    found = next((result for result in results.results if result.product == product), None)
    if found is not None and found.rank <= within:
        return found
    raise AssertionError(_complaint(results, product, found, within, get_index(index)))


def _understood(query: Any) -> tuple[str, Image | None]:
    from shopsearch.images import decode

    text, image = "", None
    for part in query if isinstance(query, tuple | list) else (query,):
        if isinstance(part, str):
            text = part
        elif isinstance(part, Path):
            image = decode(part.read_bytes())
        elif isinstance(part, bytes):
            image = decode(part)
        elif hasattr(part, "convert"):
            image = part.convert("RGB")
        elif hasattr(part, "read"):
            part.seek(0)
            image = decode(part.read())
        else:
            raise TypeError(f"{part!r} is not a query; use words, a path, bytes, a file or a PIL image.")
    return text, image


def _complaint(
    results: SearchAnswer, product: Model, found: Result | None, within: int, index: ImageIndex
) -> str:
    asked = {"text": f"“{results.query.text}”", "image": "The picture"}.get(
        results.query.kind, f"“{results.query.text}” with the picture"
    )
    wanted = "first" if within == 1 else f"among the first {within}"
    where = (
        f"it is number {found.rank}, with a score of {found.score:.3f}."
        if found
        else _absence(results, product, index)
    )
    lines = [f"{asked} does not find {index.get_title(product)} {wanted}: {where}"]
    shown = list(results.results[: max(SHOWN, within)])
    if found is not None and found not in shown:
        shown.append(found)
    for result in shown:
        mark = ">" if result is found else " "
        lines.append(f"{mark} {result.rank:>3}  {result.score:6.3f}  {index.get_title(result.product)}")
    return "\n".join(lines)


def _absence(results: SearchAnswer, product: Model, index: ImageIndex) -> str:
    """Why the product is not in the answer, as far as can be told."""
    from shopsearch.models import IndexEntry

    every = index.images_of([product.pk], index.model._default_manager.all())
    shown = index.images_of([product.pk])
    if not every.exists():
        return f"it has no image in the index {index.name}."
    if not shown.exists():
        return f"{type(index).__name__}.get_queryset() leaves it out."
    keys = [str(key) for key in shown.values_list("pk", flat=True)]
    failed = IndexEntry.objects.filter(index=index.name, image_id__in=keys).exclude(error="").first()
    if failed is not None:
        return f"its image {failed.image_id} is not indexed. {failed.error}"
    if not results.results:
        return "nothing was found; do the filters leave anything?"
    return f"it is not among the {len(results.results)} that were found; do the filters leave it out?"
