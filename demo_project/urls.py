"""The demo's addresses: the shop, its search, the admin, the API's schema."""

from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

urlpatterns = [
    path("", include("demo_project.catalog.urls")),
    path("", include("shopsearch.urls")),
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
