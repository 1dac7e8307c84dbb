"""Consent: a shopper lets the shop keep the words of searches, and takes that back, by the same control."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View
from django.views.decorators.csrf import csrf_protect

from shopsearch.conf import settings
from shopsearch.search.addresses import address_of

COOKIE = "shopsearch_collect"
SECONDS = 365 * 24 * 60 * 60
"""After a year a shopper is asked again."""


def is_given(request: HttpRequest) -> bool:
    """Whether this visitor's searches may be collected; never where SHOPSEARCH["COLLECT_QUERIES"] is off."""
    return bool(settings.COLLECT_QUERIES) and request.COOKIES.get(COOKIE) == "yes"


@method_decorator(csrf_protect, name="dispatch")
class ConsentView(View):
    """POST with ``collect=yes`` gives consent for a year, anything else withdraws it; then back to ``next``.

    The consent is kept in a cookie of the shop and nowhere else. CSRF protection keeps other sites' pages from
    consenting for a shopper.
    """

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not settings.COLLECT_QUERIES:
            raise Http404
        target = request.POST.get("next", "")
        if not url_has_allowed_host_and_scheme(target, allowed_hosts=None):
            target = address_of("search")
        response = HttpResponseRedirect(target)
        response.status_code = 303
        if request.POST.get("collect") == "yes":
            secure = request.is_secure()
            response.set_cookie(COOKIE, "yes", max_age=SECONDS, samesite="Lax", secure=secure, httponly=True)
        else:
            response.delete_cookie(COOKIE, samesite="Lax")
        return response
