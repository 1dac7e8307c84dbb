"""Include these in a project: ``path("", include("shopsearch.urls"))``; any prefix and any namespace will do."""

from django.urls import path, re_path

from shopsearch.api.health import LiveView, ReadyView
from shopsearch.api.metrics import MetricsView
from shopsearch.api.objects import ObjectsView
from shopsearch.api.reranks import RerankView, events
from shopsearch.api.views import SearchView, SimilarView, SuggestView
from shopsearch.storefront.consent import ConsentView
from shopsearch.storefront.similar import SimilarProducts
from shopsearch.storefront.views import SearchPage

app_name = "shopsearch"

urlpatterns = [
    path("search/", SearchPage.as_view(), name="search"),
    re_path(  # a key may be any text
        r"^search/similar/(?P<product_id>(?s:.+))/\Z", SimilarProducts.as_view(), name="similar"
    ),
    path("search/consent/", ConsentView.as_view(), name="consent"),
    path("api/suggest/", SuggestView.as_view(), name="api-suggest"),
    path("api/search/", SearchView.as_view(), name="api-search"),
    path("api/objects/", ObjectsView.as_view(), name="api-objects"),
    re_path(r"^api/products/(?P<product_id>(?s:.+))/similar/\Z", SimilarView.as_view(), name="api-similar"),
    path("api/reranks/<str:rerank_id>/", RerankView.as_view(), name="api-rerank"),
    path("api/reranks/<str:rerank_id>/events/", events, name="api-rerank-events"),
    path("api/health/", ReadyView.as_view(schema=None), name="api-health"),
    path("api/health/live/", LiveView.as_view(), name="api-health-live"),
    path("api/health/ready/", ReadyView.as_view(), name="api-health-ready"),
    path("api/metrics/", MetricsView.as_view(), name="api-metrics"),
]
