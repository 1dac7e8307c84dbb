"""The widget and similar products: ``{% load shopsearch %}``."""

from __future__ import annotations

import logging
from typing import Any

from django import template
from django.template import Context
from django.template.base import NodeList, Parser, Token
from django.utils.http import urlencode
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from shopsearch import search
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError
from shopsearch.search.addresses import address_of
from shopsearch.types import Result

logger = logging.getLogger(__name__)
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
    page = context.get("search")
    return {
        "action": address_of("search"),
        "suggestions": address_of("api-suggest") if settings.SUGGESTIONS else "",
        "index": index,
        "placeholder": placeholder or _("Words or a picture"),
        "autofocus": autofocus,
        "target": target,
        "text": getattr(page, "text", ""),
        "similar": getattr(page, "similar", None),
        "similar_ids": getattr(page, "similar_ids", ()),
        "dissimilar_ids": getattr(page, "dissimilar_ids", ()),
        "similar_removed_url": getattr(page, "without_example_url", ""),
        "megabytes": settings.MAX_IMAGE_BYTES // (1024 * 1024),
    }


@register.inclusion_tag("shopsearch/similar.html")
def shopsearch_similar(product: Any, *, limit: int = 6, index: str = "", **filters: Any) -> dict[str, str]:
    """A place that shows products which look like this one, as soon as the page is there and they are found.

    ``{% shopsearch_similar product limit=6 in_stock=True %}``: nothing is searched while the page is made, so that it
    never waits for search; nothing is shown while search is away. Further names are filters.
    """
    asked = {"limit": limit, **({"index": index} if index else {}), **filters}
    address = address_of("similar", product.pk)
    return {"url": f"{address}?{urlencode(asked, doseq=True)}"}


class OncePerLanguage(template.Node):
    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist
        self.rendered: dict[str | None, str] = {}

    def render(self, context: Context) -> str:
        language = get_language()
        if language not in self.rendered:
            self.rendered[language] = self.nodelist.render(context)
        return self.rendered[language]


@register.tag
def once_per_language(parser: Parser, token: Token) -> OncePerLanguage:
    """Renders what is inside once for each language: nothing in there may depend on anything else.

    Each ``{% translate %}`` costs some 20 microseconds, and the widget, which stands on every page, has forty.
    """
    nodelist = parser.parse(("endonce_per_language",))
    parser.delete_first_token()
    return OncePerLanguage(nodelist)


@register.simple_tag
def similar_products(product: Any, *, limit: int = 6, index: str = "", **filters: Any) -> tuple[Result, ...]:
    """Results that look like this product: ``{% similar_products product limit=6 in_stock=True as alike %}``.

    Each has its ``product`` and the ``image`` that looks alike. Costs no model, only two calls of the vector store, for
    which the page waits: up to its time limit where it hangs. ``shopsearch_similar`` does not wait. Nothing comes while
    the store is away, and for a product that is not indexed yet. Further names are filters.
    """
    try:
        return search.similar(product, index=index, filters=filters, limit=limit).results
    except BackendError as error:
        logger.warning("No similar products for %s: %s", product.pk, error)
        return ()
