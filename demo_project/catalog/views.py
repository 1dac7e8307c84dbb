"""The shop's pages: they would be the same without shopsearch."""

from __future__ import annotations

from typing import Any

from django.db.models import Max, OuterRef, Q, QuerySet, Subquery
from django.shortcuts import get_object_or_404
from django.views.generic import DetailView, ListView, TemplateView

from shopsearch.models import ProductImage

from .forms import ProductFilterForm
from .models import Category, Product
from .thumbnails import example_pictures, example_url

FIRST_EXAMPLES = ("leopard", "zebra", "night_sky", "tartan_scarf", "jungle_leaves")
NEW_PRODUCTS = 8


def published_products() -> QuerySet[Product]:
    return Product.objects.filter(published=True).select_related("category").prefetch_related("images")


def categories_with_cover() -> list[tuple[Category, ProductImage]]:
    """Each category with its first product's first picture."""
    pictures = ProductImage.objects.filter(product__category=OuterRef("pk"), product__published=True)
    first = Subquery(pictures.order_by("product_id", "position", "pk").values("pk")[:1])
    categories = list(Category.objects.annotate(cover=first).exclude(cover=None))
    covers = ProductImage.objects.in_bulk([category.cover for category in categories])
    return [(category, covers[category.cover]) for category in categories if category.cover in covers]


def newest_products() -> QuerySet[Product]:
    """The newest of each category, so that a day on which only lamps came in is not a page of lamps."""
    for_sale = Q(products__published=True, products__stock__gt=0)
    newest = Category.objects.annotate(newest=Max("products__pk", filter=for_sale)).order_by()
    return published_products().filter(pk__in=newest.values("newest")).order_by("-pk")


class HomePage(TemplateView):
    template_name = "catalog/home.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            categories=categories_with_cover(),
            products=newest_products()[:NEW_PRODUCTS],
            examples=examples(),
            **kwargs,
        )


class CategoryPage(ListView):  # type: ignore[type-arg]
    template_name = "catalog/category.html"
    context_object_name = "products"
    paginate_by = 24

    def get_queryset(self) -> QuerySet[Product]:
        self.category = get_object_or_404(Category, slug=self.kwargs["slug"])
        products = published_products().filter(category=self.category)
        self.form = ProductFilterForm(self.request.GET, products=products)
        return self.form.narrow()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(category=self.category, form=self.form, **kwargs)
        page = context["page_obj"]
        return context | {"page_range": page.paginator.get_elided_page_range(page.number, on_each_side=1)}


class ProductPage(DetailView):  # type: ignore[type-arg]
    template_name = "catalog/product.html"
    context_object_name = "product"

    def get_queryset(self) -> QuerySet[Product]:
        return published_products()


def examples() -> list[dict[str, str]]:
    """The pictures to search with, the finest first."""
    ranks = {name: rank for rank, name in enumerate(FIRST_EXAMPLES)}
    return [
        {
            "path": f"pictures/{file.name}",
            "small": example_url(name),
            "title": name.replace("_", " ").capitalize(),
        }
        for name, file in sorted(
            example_pictures().items(), key=lambda each: (ranks.get(each[0], len(ranks)), each[0])
        )
    ]
