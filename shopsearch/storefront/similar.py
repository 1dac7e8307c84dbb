"""Similar products for a product's page, which loads them after it is shown: no page of the shop waits for search."""

from __future__ import annotations

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.http import urlencode
from django.utils.translation import gettext_noop as _
from django.views import View

from shopsearch.api import access
from shopsearch.exceptions import BackendError, QueryError
from shopsearch.registry import find_index, get_index
from shopsearch.search.addresses import address_of
from shopsearch.search.examples import Example
from shopsearch.search.request import SearchRequest
from shopsearch.storefront.page_query import PageQuery

logger = logging.getLogger(__name__)
MAX_AGE_SECONDS = 300
_OWN = ("limit", "index")


class SimilarProducts(View):
    """GET: a piece of a page with products that look like one. 204 where there are none, and while search is away.

    ``limit`` and ``index`` are parameters; all others are filters. A mistake in them is answered with 400.
    """

    http_method_names = ["get", "head", "options"]
    template_name = "shopsearch/_similar.html"

    def get(self, request: HttpRequest, product_id: str) -> HttpResponse:
        limit, index = request.GET.get("limit", "6"), request.GET.get("index", "")
        try:
            if not (limit.isdecimal() and len(limit) < 5):
                raise QueryError(_("limit must be a number."))
            name = index if find_index(index) else get_index().name
            asked = SearchRequest(
                examples=(Example(product=product_id),),
                index=name,
                limit=int(limit),
                filters={key: values for key, values in request.GET.lists() if key not in _OWN},
            )
            with access.visit(request, asked) as answer:
                parameters = {} if name == get_index().name else {"index": name}
                query = PageQuery(
                    path=address_of("search"),
                    parameters=QueryDict(urlencode(parameters)),
                    shopper=request,
                    found=answer,
                )
                if not answer.results:
                    return HttpResponse(status=204)
                product = answer.examples[0].product
                context: dict[str, Any] = {"cards": query.cards, "product": product}
                response = render(request, self.template_name, context)
        except QueryError as error:
            return HttpResponse(str(error), status=400, content_type="text/plain; charset=utf-8")
        except BackendError as error:
            logger.warning("No similar products for %s: %s", product_id, error)
            return HttpResponse(status=204)
        response["Cache-Control"] = f"private, max-age={MAX_AGE_SECONDS}"
        response["X-Robots-Tag"] = "noindex"
        return response
