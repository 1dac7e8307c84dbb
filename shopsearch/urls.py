"""Include these in a project: ``path("", include("shopsearch.urls"))``; any prefix and any namespace will do."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.urls import path, re_path

from shopsearch import api, storefront

app_name = "shopsearch"
ASKED_OF_ALL = ("view_class", "_is_coroutine_mark", "_is_coroutine")


class LazyView:
    """A view that is imported when it is asked for; until then Django only lists its address. See docs/why.md.

    Its attributes are the view's own: those of Django's middleware and of what describes the API. A project that
    decorates the views it includes has them imported at once, since a decorator copies what they have.
    """

    def __init__(self, find: Callable[[], Any], *, is_async: bool = False) -> None:
        self.find = find
        self._view: Any = None
        if is_async:
            markcoroutinefunction(self)

    def imported(self) -> Any:
        if self._view is None:
            view = self.find()
            update_wrapper(self, view)  # what monitors requests names the view itself
            self._view = view
        return self._view

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.imported()(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        # Django asks for these before the first request. For __qualname__ only who decorates the view does.
        if name in ASKED_OF_ALL or (name.startswith("__") and name != "__qualname__"):
            raise AttributeError(name)
        return getattr(self.imported(), name)


urlpatterns = [
    path("search/", LazyView(lambda: storefront.views.SearchPage.as_view()), name="search"),
    re_path(  # a key may be any text
        r"^search/similar/(?P<product_id>(?s:.+))/\Z",
        LazyView(lambda: storefront.similar.SimilarProducts.as_view()),
        name="similar",
    ),
    path("search/consent/", LazyView(lambda: storefront.consent.ConsentView.as_view()), name="consent"),
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
        LazyView(lambda: api.reranks.events, is_async=True),
        name="api-rerank-events",
    ),
    path("api/health/", LazyView(lambda: api.health.ReadyView.as_view(schema=None)), name="api-health"),
    path("api/health/live/", LazyView(lambda: api.health.LiveView.as_view()), name="api-health-live"),
    path("api/health/ready/", LazyView(lambda: api.health.ReadyView.as_view()), name="api-health-ready"),
    path("api/metrics/", LazyView(lambda: api.metrics.MetricsView.as_view()), name="api-metrics"),
]
