"""Include these at the root of a project: ``path("", include("shopsearch.urls"))``."""

from django.urls import path

from shopsearch.pages import SearchPage
from shopsearch.receipts import RerankView, events
from shopsearch.views import SearchView

app_name = "shopsearch"

urlpatterns = [
    path("search/", SearchPage.as_view(), name="search"),
    path("api/search/", SearchView.as_view(), name="api-search"),
    path("api/reranks/<uuid:rerank_id>/", RerankView.as_view(), name="api-rerank"),
    path("api/reranks/<uuid:rerank_id>/events/", events, name="api-rerank-events"),
]
