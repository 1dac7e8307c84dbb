"""The search page: whole for a browser, its results alone for the widget's script."""

from __future__ import annotations

import logging
from typing import Any, BinaryIO, cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.utils.encoding import iri_to_uri
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import Throttled

from shopsearch.api import access
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, Busy, QueryError
from shopsearch.search.addresses import address_of
from shopsearch.storefront import consent
from shopsearch.storefront.page_query import PageQuery

logger = logging.getLogger(__name__)
UNSCRIPTED_PAGES = 4
"""Without the script a browser loses the picture as it posts the form, so more results come at once."""

ADDRESS_BYTES = 2_000
"""A form that makes a longer address is answered in place: servers in front refuse headers of many kilobytes."""


@method_decorator(csrf_exempt, name="dispatch")
class SearchPage(View):
    """Answers an address (GET) and a posted picture (POST, multipart); what is wrong is a sentence on the page.

    The address holds everything about a search but the picture: ``q``, ``similar`` (the id of an image of the shop),
    ``index``, ``offset``, ``sort``, filters by name, with ``__gte`` and ``__lte`` for bounds, and ``picture``, by
    which the shopper's browser finds the picture that it has to post. A POST may carry them as fields too. A mistake is
    answered with 400, too many searches with 429, a backend that is away with 503.

    It is exempt from CSRF protection because a search changes nothing, whoever sends it; a token would tie every page
    that shows the widget to one visitor's cookie, and no such page could be cached.
    """

    http_method_names = ["get", "head", "post", "options"]
    template_name = "shopsearch/search.html"
    results_template_name = "shopsearch/_results.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            access.read_as_utf8(request)
        except QueryError as error:
            query = PageQuery(path=request.path, parameters=request.GET)
            return self.shown(request, query, error=str(error), status=400)
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.answer(request, PageQuery(path=request.path, parameters=request.GET, shopper=request))

    def post(self, request: HttpRequest) -> HttpResponse:
        query = PageQuery(path=request.path, parameters=request.GET.copy(), shopper=request)
        try:
            access.refuse_unread(request, "search", "image")
            with access.reading_body(request):
                fields, files = request.POST, request.FILES
        except (Throttled, QueryError, Busy) as error:
            # The script still has the picture, and posts nothing else.
            query.is_unread = not self.asked_by_script(request)
            return self.refused(request, query, error)
        for name, values in fields.lists():
            if name != "image" and any(values):  # a browser sends what was left empty as well
                query.parameters.setlist(name, values)
        query.picture = cast("BinaryIO | None", files.get("image"))
        address = query.address()
        if query.picture is None and not self.asked_by_script(request) and len(address) <= ADDRESS_BYTES:
            # An address can be reloaded, kept and sent to a friend.
            return HttpResponse(status=303, headers={"Location": address})
        return self.answer(request, query)

    def answer(self, request: HttpRequest, query: PageQuery) -> HttpResponse:
        if query.is_empty or query.awaits_picture:
            return self.shown(request, query)
        by_script = self.asked_by_script(request)
        loses_picture = query.picture is not None and not by_script
        query.can_be_refined = not loses_picture
        query.is_continued = by_script
        limit = settings.PAGE_SIZE * (UNSCRIPTED_PAGES if loses_picture else 1)
        try:
            access.throttle(request, "search")
            # A browser that shows a page runs its script, with few exceptions; robots send no such header.
            is_shown = request.headers.get("Sec-Fetch-Dest") == "document"
            query.wants_rerank = by_script or is_shown
            asked = query.request(limit=limit)
            with access.visit(request, asked, collect=consent.is_given(request)) as query.found:
                if query.has_lost_its_example:
                    raise QueryError(_("That product is no longer in the shop. Search for something else."))
                if query.redirect and not by_script:  # which follows it by itself
                    return HttpResponse(
                        status=302,
                        headers={"Location": iri_to_uri(query.redirect), "Cache-Control": "no-store"},
                    )
                return self.shown(request, query)
        except (Throttled, QueryError, BackendError) as error:
            return self.refused(request, query, error)

    def refused(
        self, request: HttpRequest, query: PageQuery, error: Throttled | QueryError | BackendError
    ) -> HttpResponse:
        if isinstance(error, QueryError):
            return self.shown(request, query, error=str(error), status=400)
        if isinstance(error, Throttled):
            sentence = _("That was a lot of searches; wait a moment and try again.")
            wait = int(error.wait or 1)  # type: ignore[attr-defined]
            return self.shown(request, query, error=sentence, status=429, retry_after=wait)
        if isinstance(error, Busy):
            sentence = _("Many are searching at the moment; try again in a few seconds.")
        else:
            logger.warning("Search is unavailable: %s", error, exc_info=error)
            sentence = _("Search is away for the moment; try again shortly.")
        wait = error.retry_after_seconds
        return self.shown(request, query, error=sentence, status=503, retry_after=wait)

    def shown(
        self,
        request: HttpRequest,
        query: PageQuery,
        *,
        error: str = "",
        status: int = 200,
        retry_after: int = 0,
    ) -> HttpResponse:
        query.error = error
        alone = request.headers.get("X-Shopsearch-Fragment") == "results"
        context: dict[str, Any] = {
            "search": query,
            "base_template": settings.BASE_TEMPLATE,
            "can_be_retried": status >= 429,
            "retry_after": retry_after,
        }
        if settings.COLLECT_QUERIES:
            context["consent"] = {"is_given": consent.is_given(request), "address": address_of("consent")}
        template_name = self.results_template_name if alone else self.template_name
        response = render(request, template_name, context, status=status)
        if retry_after:
            response["Retry-After"] = str(retry_after)
        response["X-Robots-Tag"] = "noindex"
        # One address has two answers; no cache, the browser's included, may take one for the other.
        patch_vary_headers(response, ["X-Shopsearch-Fragment", *(["Cookie"] if "consent" in context else [])])
        return response

    def asked_by_script(self, request: HttpRequest) -> bool:
        return "X-Shopsearch-Fragment" in request.headers
