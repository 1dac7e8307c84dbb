"""What surrounds the search in these tests: a home page with two widgets, and a policy that forbids all it can."""

from django.http import HttpResponse
from django.template import engines
from django.urls import include, path

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
HOME = """{% extends "shopsearch/base.html" %}{% load shopsearch %}{% block content %}
<header>{% shopsearch_widget placeholder="In the header" %}</header>
<h1>Welcome</h1>
<div class="hero">{% shopsearch_widget placeholder="In the middle" %}</div>
<a href="/search/?q=green" data-shopsearch-picture="/media/example.png">Green, say</a>
{% endblock %}"""


def strict_policy(get_response):
    def middleware(request):
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware


def home(request):
    return HttpResponse(engines["django"].from_string(HOME).render({}, request))


def product(request, pk):
    return HttpResponse(f'<!doctype html><html lang="en"><title>Product</title><h1>Product {pk}</h1>')


def no_icon(request):
    return HttpResponse(status=204)


urlpatterns = [
    path("", home),
    path("products/<int:pk>/", product),
    path("favicon.ico", no_icon),
    path("", include("shopsearch.urls")),
]
