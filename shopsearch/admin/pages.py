"""The base of shopsearch's own admins: style sheet, addresses of their views, and pages that are none of Django's."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from shopsearch.admin.columns import STYLE


class OwnAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    class Media:
        css = {"all": (STYLE,)}

    def url_name(self, view: str) -> str:
        """The name of one of this admin's views, as Django names its own: ``shopsearch_rule_preview``."""
        return f"{self.opts.app_label}_{self.opts.model_name}_{view}"

    def url_of(self, view: str, *arguments: object) -> str:
        """The address of one of this admin's views, such as ``changelist``."""
        return reverse(f"{self.admin_site.name}:{self.url_name(view)}", args=arguments)

    def page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        """A page of this admin that is none of Django's."""
        request.current_app = self.admin_site.name
        common = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, template, common | context)
