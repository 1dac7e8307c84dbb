"""The shop's pages."""

from django.urls import path

from .thumbnails import example, thumbnail
from .views import CategoryPage, HomePage, ProductPage

app_name = "catalog"

urlpatterns = [
    path("", HomePage.as_view(), name="home"),
    path("categories/<slug:slug>/", CategoryPage.as_view(), name="category"),
    path("thumbnails/<int:pk>/<str:name>.webp", thumbnail, name="thumbnail"),
    path("examples/<str:name>-<int:size>.webp", example, name="example"),
    path("products/<slug:slug>/", ProductPage.as_view(), name="product"),
]
