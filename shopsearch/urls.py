"""Include these in a project: ``path("", include("shopsearch.urls"))``; any prefix and any namespace will do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.urls import path, re_path

from shopsearch import api, storefront

app_name = "shopsearch"


class LazyView:
    """A view that is imported when it is asked for; until then Django only lists its address. See docs/why.md.

    Its attributes are the view's own: those of Django's middleware and of what describes the API.
    """

    def __init__(self, find: Callable[[], Any], *, csrf_exempt: bool = True, is_async: bool = False) -> None:
        self.find = find
        self.csrf_exempt = csrf_exempt
        """Said here already, for a project that wraps the views it includes in decorators of its own."""
        if is_async:
            markcoroutinefunction(self)

    @cached_property
    def view(self) -> Any:
        view = self.find()
        update_wrapper(self, view)  # what monitors requests names the view itself
        return view

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.view(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("view_class", "_is_coroutine_mark", "_is_coroutine"):
            raise AttributeError(name)  # asked of every view before the first request
        return getattr(self.view, name)


urlpatterns = [
    path("search/", LazyView(lambda: storefront.views.SearchPage.as_view()), name="search"),
    re_path(  # a key may be any text
        r"^search/similar/(?P<product_id>(?s:.+))/\Z",
        LazyView(lambda: storefront.similar.SimilarProducts.as_view(), csrf_exempt=False),
        name="similar",
    ),
    path(
        "search/consent/",
        LazyView(lambda: storefront.consent.ConsentView.as_view(), csrf_exempt=False),
        name="consent",
    ),
    path("api/suggest/", LazyView(lambda: api.views.SuggestView.as_view()), name="api-suggest"),
    path("api/search/", LazyView(lambda: api.views.SearchView.as_view()), name="api-search"),
    path("api/objects/", LazyView(lambda: api.objects.ObjectsView.as_view()), name="api-objects"),
    re_path(
        r"^api/products/(?P<product_id>(?s:.+))/similar/\Z",
        LazyView(lambda: api.views.SimilarView.as_view()),
        name="api-similar",
    ),
    path(
        "api/reranks/<str:rerank_id>/", LazyView(lambda: api.reranks.RerankView.as_view()), name="api-rerank"
    ),
    path(
        "api/reranks/<str:rerank_id>/events/",
        LazyView(lambda: api.reranks.events, csrf_exempt=False, is_async=True),
        name="api-rerank-events",
    ),
    path("api/health/", LazyView(lambda: api.health.ReadyView.as_view(schema=None)), name="api-health"),
    path("api/health/live/", LazyView(lambda: api.health.LiveView.as_view()), name="api-health-live"),
    path("api/health/ready/", LazyView(lambda: api.health.ReadyView.as_view()), name="api-health-ready"),
    path("api/metrics/", LazyView(lambda: api.metrics.MetricsView.as_view()), name="api-metrics"),
]
