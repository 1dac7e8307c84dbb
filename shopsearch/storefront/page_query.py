"""What the search page is asked, by an address, a form and a picture together, and what it shows of the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal
from urllib.parse import urlsplit

from django.http import HttpRequest, QueryDict
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from shopsearch.backends import get_detector, get_reranker
from shopsearch.conf import settings
from shopsearch.exceptions import QueryError
from shopsearch.filters import FALSE
from shopsearch.models import Rerank
from shopsearch.registry import ImageIndex, find_index, get_index
from shopsearch.rerankers.facts import words_of
from shopsearch.search.addresses import address_of
from shopsearch.search.examples import MAX_EXAMPLES, Box, Example
from shopsearch.search.facets import Number
from shopsearch.search.request import SearchAnswer, SearchRequest
from shopsearch.search.rules import Banner
from shopsearch.search.sorting import is_relevance
from shopsearch.storefront.markup import Shown, attributes
from shopsearch.storefront.refinements import Address, Refinements
from shopsearch.types import Result

MOST_CHIPS = 5
"""Of reasons, so that they are one line."""
BOX_SIDES = ("left", "top", "width", "height")
PART_PARAMETERS = ("box", *(f"box_{side}" for side in BOX_SIDES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Card(Shown):
    """A result as ``shopsearch/_result.html`` shows it."""

    result: Result
    product: Mapping[str, Any]
    """What the index's ``describe`` says of it."""
    similar_url: str
    """The same search, for more like this; "" where it has as many examples as it may have."""
    similar_title: str
    """What the link shows when pointed at."""
    similar_label: str
    """What a screen reader says of the link."""
    dissimilar_url: str
    """The same search, for less like this; "" where it can have no such example."""
    dissimilar_title: str
    dissimilar_label: str

    @property
    def similar_attributes(self) -> SafeString:
        """Of the link to more like this."""
        own = {"href": self.similar_url, "aria-label": self.similar_label, "title": self.similar_title}
        return attributes(own)

    @property
    def dissimilar_attributes(self) -> SafeString:
        label, title = self.dissimilar_label, self.dissimilar_title
        return attributes({"href": self.dissimilar_url, "aria-label": label, "title": title})

    @property
    def attributes(self) -> SafeString:
        """Of the place in the list."""
        return attributes({"data-product-id": self.product_key, "data-image-id": self.result.image_id})

    @property
    def product_key(self) -> str:
        return str(self.result.product.pk)

    @property
    def alternative_text(self) -> str:
        """What the picture shows, where the shop says that; "" for what the title beside it says already."""
        own = self.product.get("alternative_text") or getattr(self.result.image, "alternative_text", "")
        return "" if own == self.product.get("title") else str(own)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownExample(Shown):
    """A product of the shop that the results should be like or unlike, as ``shopsearch/_examples.html`` shows it."""

    product: Mapping[str, Any]
    is_wanted: bool
    removal_url: str
    """The same search without it."""

    @property
    def removal_label(self) -> str:
        title = self.product.get("title", "")
        sentence = _("Like %(title)s. Remove") if self.is_wanted else _("Unlike %(title)s. Remove")
        return sentence % {"title": title}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonChip(Shown):
    """A link to the search as a reason refines it."""

    label: str
    url: str
    swatch: str


@dataclass(kw_only=True)
class PageQuery(Shown):
    """What is asked, and, once it has been answered, what to show; templates know it as ``search``."""

    path: str
    parameters: QueryDict
    picture: BinaryIO | None = None
    shopper: HttpRequest | None = None
    """The request that asks."""
    error: str = ""
    found: SearchAnswer | None = None
    can_be_refined: bool = True
    """Not where the form posted the picture without the script: an address would lose it."""
    is_continued: bool = False
    """Whether further cards join those of the page before, which shows everything else already."""
    wants_rerank: bool = False
    is_unread: bool = False
    """Whether a form was turned away before it was read, so that the page has nothing of what was in it."""

    # What is asked

    @property
    def text(self) -> str:
        return self.parameters.get("q", "").replace("\0", " ").strip()

    @property
    def index_name(self) -> str:
        return self.parameters.get("index", "")

    @cached_property
    def index(self) -> ImageIndex:
        if self.index_name and find_index(self.index_name) is None:
            raise QueryError(_("This shop has no such search. Search again from the box above."))
        return get_index(self.index_name)

    @property
    def offset(self) -> int:
        given = self.parameters.get("offset", "")
        return min(int(given), settings.MAX_RESULTS) if given.isdecimal() and len(given) < 10 else 0

    @property
    def is_empty(self) -> bool:
        return not (self.text or self.picture is not None or self.similar_ids or self.awaits_picture)

    @property
    def awaits_picture(self) -> bool:
        """The address names a picture that is in the shopper's browser: its script will post it here."""
        return self.picture is None and bool(self.parameters.get("picture"))

    @cached_property
    def similar_ids(self) -> list[str]:
        """Of images of the shop that the results should be like."""
        return self._address.all("similar")

    @cached_property
    def dissimilar_ids(self) -> list[str]:
        return self._address.all("dissimilar")

    @cached_property
    def conditions(self) -> dict[str, list[str]]:
        """The filters among the parameters; whatever else an address carries (campaigns, say) is left alone."""
        kinds = self.index.filter_types
        return {
            key: values
            for key, values in self.parameters.lists()
            if key.partition("__")[0] in kinds and any(values)
        }

    @property
    def sort(self) -> str:
        """Relevance, or another order; what is like a picture of the shop has no other."""
        return self.parameters.get("sort", "") if self.can_be_sorted else ""

    @property
    def can_be_sorted(self) -> bool:
        return bool(self.text or self.picture is not None or not self.similar_ids)

    @property
    def shows_refinements(self) -> bool:
        return self.can_be_refined and not (self.is_continued and self.offset)

    @property
    def corrects(self) -> bool:
        """Whether typing errors may be corrected: not for who asked for the words as they are."""
        return self.parameters.get("correct", "").lower() not in FALSE

    def request(self, *, limit: int) -> SearchRequest:
        """Raises QueryError for an index that the shop does not have."""
        return SearchRequest(
            text=self.text,
            correct=self.corrects,
            examples=list(self._examples),
            index=self.index.name,
            filters=self.conditions,
            sort=self.sort,
            limit=min(limit, settings.MAX_PAGE_SIZE),
            offset=self.offset,
            facets=["*"] if self.shows_refinements else None,
            wants_rerank=self.wants_rerank and self.can_be_refined,
        )

    @property
    def _examples(self) -> Iterator[Example]:
        if self.picture is not None:
            yield Example(image=self.picture, box=self.box)
        for key in self.similar_ids:
            yield Example(image_id=key)
        for key in self.dissimilar_ids:
            yield Example(image_id=key, weight=-1)

    @property
    def box(self) -> Box | None:
        """The part of the picture that is meant, from the script's one parameter or the form's four percentages.

        Raises QueryError for a part that is none.
        """
        if given := self.parameters.get("box", ""):
            return Box.of(given.split(","))
        left, top, width, height = (self.parameters.get(f"box_{side}", "") for side in BOX_SIDES)
        if not (left or top or width or height):
            return None
        x, y = _share(left or "0"), _share(top or "0")
        return Box.of([x, y, _share(width) if width else 1 - x, _share(height) if height else 1 - y])

    # Addresses. A picture has none: it is posted to the address.

    def address(self) -> str:
        return str(self._address)

    @cached_property
    def _address(self) -> Address:
        """Made once. The parameters have to be complete by then."""
        return Address(self.path, dict(self.parameters.lists())).without("offset")

    @property
    def more_url(self) -> str:
        if self.found is None or not self.found.has_next or not self.can_be_refined:
            return ""
        return str(self._address.having("offset", [str(self.found.offset + self.found.limit)]))

    @property
    def uncorrected_url(self) -> str:
        return str(self._address.having("correct", ["false"]))

    @cached_property
    def objects_url(self) -> str:
        """Where the script asks for the parts of the picture; "" where nothing proposes any."""
        return address_of("api-objects") if get_detector() is not None else ""

    @property
    def without_picture_url(self) -> str:
        return str(self._address.without("picture", *PART_PARAMETERS))

    @property
    def whole_picture_url(self) -> str:
        return str(self._address.without(*PART_PARAMETERS))

    @property
    def without_example_url(self) -> str:
        """Without the picture of the shop that the box shows."""
        return str(self._address.having("similar", self.similar_ids[1:]))

    @property
    def unfiltered_url(self) -> str:
        return str(self._address.without(*self.conditions))

    @property
    def rerank_url(self) -> str:
        return address_of("api-rerank", self.rerank.pk) if self.rerank else ""

    # What was found

    @property
    def corrected(self) -> str:
        """The words that were searched for instead of those that were typed; "" for further pages, and without any."""
        return self.found.corrected if self.found and not self.offset else ""

    @property
    def banner(self) -> Banner | None:
        """What a rule says above the results, on the first page."""
        return self.found.banner if self.found and not self.offset else None

    @property
    def redirect(self) -> str:
        """Where a rule leads this search. A search that a rule led here is led no further: rules make no circles."""
        address = self.found.redirect if self.found and not self.offset else ""
        if not address or "followed" in self.parameters:
            return ""
        parts = urlsplit(address)
        # The search's own address may lack the language before it, to which Django then leads.
        if parts.path == "/" or not self.path.endswith(parts.path):
            return address
        followed = QueryDict(parts.query, mutable=True)
        followed["followed"] = "1"
        return parts._replace(query=followed.urlencode()).geturl()

    @property
    def has_next(self) -> bool:
        return self.found is not None and self.found.has_next

    @property
    def number(self) -> Number | None:
        """How many products match; None where that is not known, or where everything is a weak match."""
        return self.found.number if self.found else None

    @property
    def number_of_results(self) -> int:
        """Of all pages where that is known, else of this one."""
        return self.number.value if self.number else len(self.cards)

    @property
    def rerank(self) -> Rerank | None:
        return self.found.rerank if self.found else None

    @cached_property
    def cards(self) -> list[Card]:
        """In the better order where it is known already."""
        cards = [self._card(result) for result in self.found.results] if self.found else []
        if self.rerank is None or self.rerank.state != Rerank.State.DONE:
            return cards
        places = {str(product): place for place, product in enumerate(self.rerank.order)}
        return sorted(cards, key=lambda card: places.get(str(card.result.product.pk), len(places)))

    @cached_property
    def first_order(self) -> str:
        """The products in retrieval's order, for Undo."""
        return " ".join(str(result.product.pk) for result in self.found.results) if self.found else ""

    @property
    def better_order(self) -> str:
        return " ".join(str(card.result.product.pk) for card in self.cards)

    @property
    def order_state(self) -> Literal["waiting", "shown", "kept"]:
        """How far the better order is. "waiting" without ``rerank``: the script still has to ask for one."""
        if self.rerank is None:
            return "kept" if self.wants_rerank else "waiting"
        if self.rerank.state != Rerank.State.DONE:
            return "waiting"
        return "kept" if self.better_order == self.first_order else "shown"

    @property
    def caption(self) -> str:
        """What the model sees in the picture, unless a reason says it; once the better order is known."""
        if self.rerank is None or any(reason["kind"] == "looks" for reason in self.rerank.reasons):
            return ""
        return self.rerank.caption

    @property
    def reasons(self) -> Sequence[ReasonChip]:
        """What the first product shares with the search, to keep, drop or change; once the better order is known.

        reorder.js does the same where the order comes later.
        """
        found = self.rerank.reasons if self.rerank else ()
        chips = (self._chip(control) for reason in found for control in reason["controls"])
        return [chip for chip in chips if chip is not None][:MOST_CHIPS]

    def _chip(self, control: Mapping[str, Any]) -> ReasonChip | None:
        """None where the search is so already."""
        removed = set(control["remove"].split())
        words = [word for word in self.text.split() if not removed.issuperset(words_of(word) or [word])]
        address = self._address.having("q", [" ".join([*words, *control["add"].split()])])
        for name, value in control["filters"].items():
            address = address.having(name, [value])
        if str(address) == str(self._address.having("q", [" ".join(self.text.split())])):
            return None
        return ReasonChip(label=control["label"], url=str(address), swatch=control["swatch"])

    def _card(self, result: Result) -> Card:
        key = result.image_id
        similar = dissimilar = ""
        if not key:
            pass  # there is nothing to be like
        elif not self.can_be_refined:
            own = {"index": self.index_name} if self.index_name else {}
            similar = f"{self.path}?{urlencode({**own, 'similar': key})}"
        elif self.number_of_examples < MAX_EXAMPLES:
            similar = str(self._address.having("similar", [*self.similar_ids, key]))
            if not self.is_empty:
                dissimilar = str(self._address.having("dissimilar", [*self.dissimilar_ids, key]))
        product = self.index.described(result.product, result.image, self.shopper)
        more, more_like, less, less_like = self._labels
        title = {"title": product.get("title", "")}
        return Card(
            result=result,
            product=product,
            similar_url=similar,
            similar_title=more,
            similar_label=more_like % title,
            dissimilar_url=dissimilar,
            dissimilar_title=less,
            dissimilar_label=less_like % title,
        )

    @cached_property
    def _labels(self) -> tuple[str, str, str, str]:
        """Translated once for all cards."""
        return (
            _("More like this"),
            _("More like %(title)s"),
            _("Less like this"),
            _("Less like %(title)s"),
        )

    @property
    def number_of_examples(self) -> int:
        return len(self.similar_ids) + len(self.dissimilar_ids) + (self.picture is not None)

    @property
    def shows_examples(self) -> bool:
        """Whether to list the examples: the heading shows one that is all that is searched with."""
        is_alone = len(self.examples) == 1 and self.similar is not None and not self.text
        return bool(self.examples) and not is_alone and not self.offset

    @cached_property
    def examples(self) -> list[ShownExample]:
        """The products of the shop that the results should be like, and then those that they should be unlike."""
        known = self.found.examples if self.found and not self.error else ()
        return [
            ShownExample(
                product=self.index.described(each.product, each.images[0], self.shopper),
                is_wanted=each.is_wanted,
                removal_url=str(self._address.toggled(_parameter_of(each.is_wanted), str(each.images[0].pk))),
            )
            for each in known
            if each.product is not None
        ]

    @property
    def has_lost_its_example(self) -> bool:
        """Whether all that it asks for is to be like a product that the shop no longer shows."""
        is_asked = bool(self.similar_ids) and not self.text and self.picture is None
        known = self.found.examples if self.found else ()
        return is_asked and not any(each.is_wanted for each in known)

    @property
    def similar(self) -> Mapping[str, Any] | None:
        """The product of the shop whose picture is searched with, as ``describe`` says it; None beside a picture."""
        if self.picture is not None:
            return None
        return next((each.product for each in self.examples if each.is_wanted), None)

    @cached_property
    def refinements(self) -> Refinements | None:
        """None where there is nothing to narrow or to sort, or no address to do it by."""
        if self.found is None or self.found.facets is None:
            return None
        return Refinements(self.index, self._address, self.conditions, self.found.facets)

    @property
    def ends_sorted(self) -> bool:
        """Whether there are further results, which the order that was asked for leaves out."""
        return not is_relevance(self.sort) and self.offset + len(self.cards) >= settings.SORTED_RESULTS

    @property
    def is_weak(self) -> bool:
        """Whether to say, once for all pages, that the shop may not sell what is asked for."""
        return self.found is not None and self.found.match == "weak" and not self.offset

    @property
    def can_be_reranked(self) -> bool:
        """Whether the page has a place for a better order. Of what the shop may not sell, none is better."""
        is_leading = not self.offset and is_relevance(self.sort) and not self.is_weak
        is_steered = self.found is not None and self.found.is_steered
        can_gain = is_leading and not is_steered and len(self.cards) > 1
        return self.can_be_refined and can_gain and get_reranker() is not None

    @property
    def rerank_seconds(self) -> int:
        return int(settings.RERANK_DEADLINE_SECONDS)


def _parameter_of(is_wanted: bool) -> str:
    return "similar" if is_wanted else "dissimilar"


def _share(percentage: str) -> float:
    """Raises QueryError for what is no number."""
    try:
        return float(percentage) / 100
    except ValueError as error:
        raise QueryError(_("The parts of the picture are numbers of percent, from 0 to 100.")) from error
