"""A project without shopsearch's addresses."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
