"""The shop's back office."""

from __future__ import annotations

from django.contrib import admin

from .models import Category, Product


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}
    search_fields = ("name",)


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("title", "sku", "brand", "category", "price", "stock", "published")
    list_filter = ("published", "category", "colour", "pattern")
    list_select_related = ("category",)
    prepopulated_fields = {"slug": ("title",)}
    search_fields = ("=sku", "title", "brand", "description", "slug")
