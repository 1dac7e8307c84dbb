"""The widget: ``{% load shopsearch %}{% shopsearch_widget %}``."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context
from django.urls import reverse
from django.utils.translation import gettext as _

from shopsearch.conf import settings

register = template.Library()


@register.inclusion_tag("shopsearch/widget.html", takes_context=True)
def shopsearch_widget(
    context: Context, *, index: str = "", placeholder: str = "", autofocus: bool = False, target: str = ""
) -> dict[str, Any]:
    """A box to search by words, by a picture, or by both; any number of them may stand on a page.

    ``index`` is the name of the image index to search. ``target`` is a selector of the element of this page that shall
    show the results; without it, the search page does. Needs neither the request nor a visitor's cookie, so a page
    that shows it may be cached.
    """
    search = context.get("search")
    return {
        "action": reverse("shopsearch:search"),
        "index": index,
        "placeholder": placeholder or _("Words or a picture"),
        "autofocus": autofocus,
        "target": target,
        "text": getattr(search, "text", ""),
        "similar": getattr(search, "similar", None),
        "similar_id": getattr(search, "similar_id", ""),
        "similar_removed_url": getattr(search, "dissimilar_url", ""),
        "megabytes": settings.MAX_IMAGE_BYTES // (1024 * 1024),
    }
