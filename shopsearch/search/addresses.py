"""Addresses: where the search page and the REST API are, wherever the project has included ``shopsearch.urls``."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import get_resolver, get_urlconf, reverse
from django.urls.resolvers import URLResolver

OWN = "shopsearch"


def address_of(name: str, *arguments: object) -> str:
    """The address of one of shopsearch's views, such as ``search`` or ``api-search``.

    Their namespace may have another name, and lie below others. Raises NoReverseMatch where they are not included, or
    below a part of the address that varies.
    """
    found = _found()
    return reverse(f"{OWN if OWN in found or not found else found[0]}:{name}", args=arguments)


def are_included() -> bool:
    """Whether the project includes ``shopsearch.urls`` anywhere, also where its views have no address of their own."""
    return bool(_found())


def _found() -> list[str]:
    return list(_namespaces(get_resolver(get_urlconf())))


def _namespaces(resolver: URLResolver) -> Iterator[str]:
    for namespace, (_prefix, inner) in resolver.namespace_dict.items():
        if getattr(inner.urlconf_module, "__name__", "") == "shopsearch.urls":
            yield namespace
        yield from (f"{namespace}:{each}" for each in _namespaces(inner))
