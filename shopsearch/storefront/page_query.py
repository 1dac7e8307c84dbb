"""What the search page is asked, by an address, a form and a picture together, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from PIL.Image import Image

from shopsearch.backends import get_reranker
from shopsearch.conf import settings
from shopsearch.evaluation import query_log
from shopsearch.exceptions import ImageError, ImageUnreadable, QueryError
from shopsearch.images import decode, normalised
from shopsearch.models import Rerank
from shopsearch.registry import ImageIndex, find_index, get_index
from shopsearch.registry.index import described
from shopsearch.search import reranking
from shopsearch.search.engine import search, similar_to_image
from shopsearch.search.sorting import is_relevance
from shopsearch.storefront.refinements import Refinements
from shopsearch.types import Match, Query, Result, Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A result as ``shopsearch/_result.html`` shows it."""

    result: Result
    product: Mapping[str, Any]
    """What the index's ``describe`` says of it."""
    similar_url: str


@dataclass(kw_only=True)
class PageQuery:
    """What an address, a form and a picture ask for together, and what was found; templates know it as ``search``."""

    path: str
    parameters: QueryDict
    picture: bytes | None = None
    error: str = ""
    cards: tuple[Card, ...] = ()
    has_next: bool = False
    match: Match = "unknown"
    limit: int = 0
    can_be_refined: bool = True
    """Not where the picture has stayed with the form that posted it: an address would lose it."""
    is_continued: bool = False
    """Whether further cards join those of the page before, which shows all the rest already."""
    rerank: Rerank | None = None
    order_state: Literal["waiting", "shown", "kept"] = "waiting"
    """How far the better order is. "waiting" without ``rerank``: nobody has asked for it yet."""
    first_order: str = ""
    """Where a better order is shown: the products in retrieval's, for Undo."""

    @property
    def text(self) -> str:
        return self.parameters.get("q", "").replace("\0", " ").strip()

    @cached_property
    def index(self) -> ImageIndex:
        name = self.index_name
        if name and find_index(name) is None:
            raise QueryError(_("This shop has no such search. Search again from the box above."))
        return get_index(name)

    @property
    def index_name(self) -> str:
        return self.parameters.get("index", "")

    @property
    def offset(self) -> int:
        given = self.parameters.get("offset", "")
        return min(int(given), settings.MAX_RESULTS) if given.isdecimal() and len(given) < 10 else 0

    @property
    def is_empty(self) -> bool:
        return not (self.text or self.picture is not None or self.similar_id or self.awaits_picture)

    @property
    def awaits_picture(self) -> bool:
        """The address names a picture, which is in the shopper's browser: its script will post it here."""
        return self.picture is None and bool(self.parameters.get("picture"))

    @property
    def similar_id(self) -> str:
        with_picture = self.picture is not None or self.awaits_picture
        return "" if with_picture else self.parameters.get("similar", "")

    @cached_property
    def similar(self) -> Mapping[str, Any] | None:
        """The product of the shop whose picture is searched with, as ``describe`` says it."""
        if self.error or not self.similar_id:
            return None
        image = self.similar_image
        return described(self.index, self.index.get_product(image), image)

    @cached_property
    def similar_image(self) -> Any:
        """Raises QueryError unless it is an image that the shop shows."""
        try:
            # PostgreSQL takes no text that holds a NUL.
            key = self.similar_id.replace("\0", "\N{REPLACEMENT CHARACTER}")
            image = self.index.get_queryset().filter(pk=key).first()
        except (ValueError, OverflowError, ValidationError):
            image = None
        if image is None or self.index.get_product(image) is None:
            raise QueryError(_("That product is no longer in the shop. Search for something else."))
        return image

    @property
    def conditions(self) -> dict[str, list[str]]:
        """The filters among the parameters; whatever else an address carries (campaigns, say) is not ours to refuse."""
        kinds = self.index.filter_types
        return {
            key: self.parameters.getlist(key)
            for key in self.parameters
            if key.partition("__")[0] in kinds and any(self.parameters.getlist(key))
        }

    def address(self, *, without: tuple[str, ...] = (), **changes: object) -> str:
        """This search's address with these changes. A picture has none: it is posted to the address."""
        parameters = self.parameters.copy()
        for name in ("offset", *without):
            parameters.pop(name, None)
        for name, value in changes.items():
            parameters[name] = str(value)
        return f"{self.path}?{parameters.urlencode()}" if parameters else self.path

    @property
    def more_url(self) -> str:
        return self.address(offset=self.offset + self.limit) if self.has_next and self.can_be_refined else ""

    @property
    def without_picture_url(self) -> str:
        return self.address(without=("picture",))

    @property
    def dissimilar_url(self) -> str:
        return self.address(without=("similar",))

    @property
    def unfiltered_url(self) -> str:
        return self.address(without=tuple(self.conditions))

    @cached_property
    def refinements(self) -> Refinements | None:
        """None where there is nothing to narrow or to sort, or no address to do it by."""
        if not self.can_be_refined or (self.is_continued and self.offset):
            return None
        return Refinements(self.index, self.path, self.parameters, self.conditions)

    @property
    def sort(self) -> str:
        """Relevance, or another order; what is like a picture of the shop has no other."""
        return self.parameters.get("sort", "") if self.can_be_sorted else ""

    @property
    def ends_sorted(self) -> bool:
        """Whether there are further results, which the order that was asked for leaves out."""
        return not is_relevance(self.sort) and self.offset + len(self.cards) >= settings.SORTED_RESULTS

    @property
    def can_be_sorted(self) -> bool:
        return bool(self.text or not self.similar_id)

    @property
    def is_weak(self) -> bool:
        """Whether to say, once for all pages, that the shop may not sell what is looked for."""
        return self.match == "weak" and not self.offset

    @property
    def can_be_reranked(self) -> bool:
        """Whether the page has a place for a better order. Of what the shop may not sell, none is better."""
        is_leading = not self.offset and is_relevance(self.sort) and not self.is_weak
        return self.can_be_refined and is_leading and len(self.cards) > 1 and get_reranker() is not None

    @property
    def rerank_url(self) -> str:
        return reverse("shopsearch:api-rerank", args=[self.rerank.pk]) if self.rerank else ""

    @property
    def rerank_seconds(self) -> int:
        seconds: int = settings.RERANK_DEADLINE_SECONDS
        return seconds

    def run(self, limit: int, *, rerank: bool = False, collect: bool = False) -> None:
        """Find the cards, have a better order made of them, and keep the words where the shopper lets us.

        Raises what ``search`` raises, ImageError included.
        """
        self.limit = min(limit, settings.MAX_PAGE_SIZE, max(1, settings.MAX_RESULTS - self.offset))
        results = self._stored_results(rerank=rerank) or self._results()
        self.has_next = results.has_next
        self.match = results.match
        own = self.index.get_product(self.similar_image).pk if self.similar_id else None
        self.cards = tuple(self._card(result) for result in results.results if result.product.pk != own)
        if collect and self.text:
            query_log.collect(results, self.index)
        if rerank and self.can_be_reranked and not results.query.is_empty:
            self._better(reranking.request(self.index, results))

    def _better(self, rerank: Rerank | None) -> None:
        """An order that is known already is shown at once."""
        self.rerank = rerank
        if rerank is None:
            self.order_state = "kept"
        elif rerank.state == Rerank.State.DONE:
            places = {str(product): place for place, product in enumerate(rerank.order)}
            first = [str(card.result.product.pk) for card in self.cards]
            better = sorted(self.cards, key=lambda card: places.get(str(card.result.product.pk), len(places)))
            self.order_state = "kept" if tuple(better) == self.cards else "shown"
            self.first_order = " ".join(first)
            self.cards = tuple(better)

    @property
    def better_order(self) -> str:
        return " ".join(str(card.result.product.pk) for card in self.cards)

    def _results(self) -> Results:
        image: Image | None = None
        if self.picture is not None:
            image = decode(self.picture)
        elif self.similar_id:
            image = self._opened()
        return search(
            self.text,
            image,
            index=self.index_name,
            filters=self.conditions,
            limit=self.limit,
            offset=self.offset,
            sort=self.sort,
        )

    def _stored_results(self, *, rerank: bool) -> Results | None:
        """What looks like a picture of the shop, by its stored vector; None where it has none, or words are asked too.

        Its file is read for a reranker alone.
        """
        if not self.similar_id or self.text:
            return None
        image: Image | None = None
        if rerank and get_reranker() is not None:
            with suppress(ImageError):
                image = normalised(self._opened())
        return similar_to_image(
            self.index,
            self.similar_image,
            query=Query(image=image),
            filters=self.conditions,
            limit=self.limit,
            offset=self.offset,
        )

    def _opened(self) -> Image:
        try:
            with getattr(self.similar_image, self.index.image_field).open("rb") as file:
                return decode(file.read(settings.MAX_IMAGE_BYTES + 1))
        except (OSError, ValueError) as error:
            raise ImageUnreadable(
                _("The picture of that product cannot be opened. Try another one.")
            ) from error

    def _card(self, result: Result) -> Card:
        parameters = QueryDict(mutable=True)
        parameters["similar"] = str(result.image.pk)
        if self.index_name:
            parameters["index"] = self.index_name
        return Card(
            result=result,
            product=described(self.index, result.product, result.image),
            similar_url=f"{self.path}?{parameters.urlencode()}",
        )
