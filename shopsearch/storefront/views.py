"""The search page: whole for a browser, its results alone for the widget's script."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from shopsearch.api import admission, throttling
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, Busy, ImageTooLarge, QueryError
from shopsearch.storefront import consent
from shopsearch.storefront.page_query import PageQuery

logger = logging.getLogger(__name__)
UNSCRIPTED_PAGES = 4
"""Without the script a browser parts with the picture as it posts the form, so more results come at once."""
FORM_BYTES = 256 * 1024
"""What a posted form may weigh beside its picture."""


@method_decorator(csrf_exempt, name="dispatch")
class SearchPage(View):
    """Answers an address (GET) and a posted picture (POST, multipart); what is wrong is a sentence on the page.

    The address holds all there is to a search but the picture: ``q``, ``similar`` (the id of an image of the shop),
    ``index``, ``offset``, ``sort``, filters by name, with ``__gte`` and ``__lte`` for bounds, and ``picture``, by
    which the shopper's browser finds the picture again that it has to post. A POST may carry them as fields too. A
    mistake is answered with 400, too many searches with 429, a backend that is away with 503.

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
        if query.is_empty or query.awaits_picture:
            return self.shown(request, query)
        if seconds := self.seconds_to_wait(request, query):
            query.error = _("That was a lot of searches; wait a moment and try again.")
            return self.shown(request, query, status=429, retry_after=seconds)
        by_script = self.asked_by_script(request)
        parted = query.picture is not None and not by_script
        query.can_be_refined = not parted
        query.is_continued = by_script
        try:
            limit = settings.PAGE_SIZE * (UNSCRIPTED_PAGES if parted else 1)
            # A browser that shows a page runs its script, with few exceptions; what reads pages says no such thing.
            is_shown = request.headers.get("Sec-Fetch-Dest") == "document"
            rerank = (by_script or is_shown) and not throttling.seconds_to_wait(request, "rerank")
            with admission.admitted("image" if query.picture is not None or query.similar_id else "text"):
                query.run(limit, rerank=rerank, collect=consent.is_given(request))
                return self.shown(request, query)
        except QueryError as error:
            query.error = str(error)
            return self.shown(request, query, status=400)
        except Busy as error:
            query.error = _("Many are searching at the moment; try again in a few seconds.")
            return self.shown(request, query, status=503, retry_after=error.retry_after_seconds)
        except BackendError as error:
            logger.warning("Search is unavailable: %s", error, exc_info=error)
            query.error = _("Search is away for the moment; try again shortly.")
            return self.shown(request, query, status=503, retry_after=error.retry_after_seconds)

    def seconds_to_wait(self, request: HttpRequest, query: PageQuery) -> int:
        """The API's count and the page's are one. Like the API, the page looks at no session."""
        seconds = throttling.seconds_to_wait(request, "search")
        if (query.picture is not None or query.similar_id) and not seconds:
            seconds = throttling.seconds_to_wait(request, "image")
        return seconds

    def shown(
        self, request: HttpRequest, query: PageQuery, *, status: int = 200, retry_after: int = 0
    ) -> HttpResponse:
        alone = request.headers.get("X-Shopsearch-Fragment") == "results"
        context: dict[str, Any] = {
            "search": query,
            "base_template": settings.BASE_TEMPLATE,
            "can_be_retried": status >= 429,
            "retry_after": retry_after,
        }
        if settings.COLLECT_QUERIES:
            context["consent"] = {"is_given": consent.is_given(request)}
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
