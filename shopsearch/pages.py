"""The search page: whole for a browser, its results alone for the widget's script."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import SuspiciousOperation, ValidationError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from PIL.Image import Image

from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, ImageTooLarge, ImageUnreadable, QueryError
from shopsearch.images import decode
from shopsearch.registry import ImageIndex, get_index, get_indexes
from shopsearch.search import search
from shopsearch.types import Result

logger = logging.getLogger(__name__)

UNSCRIPTED_PAGES = 4
"""Without the script a browser parts with the picture as it posts the form, so more results come at once."""
FORM_BYTES = 256 * 1024
"""What a posted form may weigh beside its picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A result as ``shopsearch/_result.html`` shows it."""

    result: Result
    product: Mapping[str, Any]
    """What the index's ``describe`` says of it."""
    similar_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterInput:
    """A filter as the page's form shows it: two bounds of a number, a box to tick, or a chosen value to take off."""

    name: str
    kind: str
    value: str = ""
    minimum: str = ""
    maximum: str = ""
    without_url: str = ""

    @property
    def label(self) -> str:
        return capfirst(_(self.name.replace("_", " ")))


@dataclass(kw_only=True)
class PageQuery:
    """What an address, a form and a picture ask for together, and what was found; templates know it as ``search``."""

    path: str
    parameters: QueryDict
    picture: bytes | None = None
    error: str = ""
    cards: tuple[Card, ...] = ()
    has_next: bool = False
    limit: int = 0
    can_be_refined: bool = True
    """Not where the picture has stayed with the form that posted it: an address would lose it."""

    @property
    def text(self) -> str:
        return self.parameters.get("q", "").replace("\0", " ").strip()

    @cached_property
    def index(self) -> ImageIndex:
        name = self.index_name
        if name and name not in {index.name for index in get_indexes()}:
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
        return self.index.describe(self.index.get_product(image), image)

    @cached_property
    def similar_image(self) -> Any:
        """Raises QueryError unless it is an image that the shop shows."""
        try:
            image = self.index.get_queryset().filter(pk=self.similar_id).first()
        except (ValueError, OverflowError, ValidationError):
            image = None
        if image is None:
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

    @property
    def kept_parameters(self) -> list[tuple[str, str]]:
        """What the form of filters must carry along."""
        inputs = {name for name, kind in self.index.filter_types.items() if kind in ("number", "boolean")}
        return [
            (name, value)
            for name, values in self.parameters.lists()
            if name != "offset" and name.partition("__")[0] not in inputs
            for value in values
        ]

    @property
    def filters(self) -> list[FilterInput]:
        get, inputs = self.parameters.get, []
        for name, kind in self.index.filter_types.items():
            if kind in ("string", "strings"):
                value = ", ".join(each for each in self.parameters.getlist(name) if each)
                if value:
                    without_url = self.address(without=(name,))
                    inputs.append(FilterInput(name=name, kind="string", value=value, without_url=without_url))
            else:
                bounds = {"minimum": get(f"{name}__gte", ""), "maximum": get(f"{name}__lte", "")}
                inputs.append(FilterInput(name=name, kind=kind, value=get(name, ""), **bounds))
        return inputs

    def run(self, limit: int) -> None:
        """Find the cards. Raises what ``search`` raises, ImageError included."""
        image: Image | None = None
        if self.picture is not None:
            image = decode(self.picture)
        elif self.similar_id:
            image = self._opened()
        self.limit = min(limit, settings.MAX_PAGE_SIZE, max(1, settings.MAX_RESULTS - self.offset))
        results = search(
            self.text,
            image,
            index=self.index_name,
            filters=self.conditions,
            limit=self.limit,
            offset=self.offset,
        )
        self.has_next = results.has_next
        own = self.index.get_product(self.similar_image).pk if self.similar_id else None
        self.cards = tuple(self._card(result) for result in results.results if result.product.pk != own)

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
            product=self.index.describe(result.product, result.image),
            similar_url=f"{self.path}?{parameters.urlencode()}",
        )


@method_decorator(csrf_exempt, name="dispatch")
class SearchPage(View):
    """Answers an address (GET) and a posted picture (POST, multipart); what is wrong is a sentence on the page.

    The address holds all there is to a search but the picture: ``q``, ``similar`` (the id of an image of the shop),
    ``index``, ``offset``, filters by name, with ``__gte`` and ``__lte`` for bounds, and ``picture``, by which the
    shopper's browser finds the picture again that it has to post. A POST may carry them as fields too. A mistake is
    answered with 400, a backend that is away with 503.

    It is exempt from CSRF protection because a search changes nothing, whoever sends it; a token would tie every page
    that shows the widget to one visitor's cookie, and no such page could be cached.
    """

    http_method_names = ["get", "head", "post", "options"]
    template_name = "shopsearch/search.html"
    results_template_name = "shopsearch/_results.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.answer(request, PageQuery(path=request.path, parameters=request.GET))

    def post(self, request: HttpRequest) -> HttpResponse:
        query = PageQuery(path=request.path, parameters=request.GET.copy())
        try:
            # Before anything is read: what is too large anyway need not arrive.
            if int(request.META.get("CONTENT_LENGTH") or 0) > settings.MAX_IMAGE_BYTES + FORM_BYTES:
                raise ImageTooLarge
            for name, values in request.POST.lists():
                if name != "image" and any(values):  # a browser sends what was left empty as well
                    query.parameters.setlist(name, values)
            upload = request.FILES.get("image")
            query.picture = upload.read(settings.MAX_IMAGE_BYTES + 1) if upload else None
        except (ImageTooLarge, MultiPartParserError, SuspiciousOperation, ValueError) as error:
            query.error = (
                str(error) if isinstance(error, ImageTooLarge) else _("The upload was cut off. Try again.")
            )
            return self.shown(request, query, status=400)
        if query.picture is None and not self.asked_by_script(request):
            # An address can be reloaded, kept and sent to a friend.
            return HttpResponse(status=303, headers={"Location": query.address()})
        return self.answer(request, query)

    def answer(self, request: HttpRequest, query: PageQuery) -> HttpResponse:
        try:
            if not (query.is_empty or query.awaits_picture):
                parted = query.picture is not None and not self.asked_by_script(request)
                query.can_be_refined = not parted
                query.run(settings.PAGE_SIZE * (UNSCRIPTED_PAGES if parted else 1))
        except QueryError as error:
            query.error = str(error)
            return self.shown(request, query, status=400)
        except BackendError as error:
            logger.warning("Search is unavailable: %s", error, exc_info=error)
            query.error = _("Search is away for the moment; try again shortly.")
            response = self.shown(request, query, status=503)
            response["Retry-After"] = str(error.retry_after_seconds)
            return response
        return self.shown(request, query)

    def shown(self, request: HttpRequest, query: PageQuery, *, status: int = 200) -> HttpResponse:
        alone = request.headers.get("X-Shopsearch-Fragment") == "results"
        context = {"search": query, "base_template": settings.BASE_TEMPLATE}
        template_name = self.results_template_name if alone else self.template_name
        response = render(request, template_name, context, status=status)
        # One address has two answers; no cache, the browser's included, may take one for the other.
        patch_vary_headers(response, ["X-Shopsearch-Fragment"])
        return response

    def asked_by_script(self, request: HttpRequest) -> bool:
        return "X-Shopsearch-Fragment" in request.headers
