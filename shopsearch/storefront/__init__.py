"""The search page that comes with shopsearch, with and without JavaScript."""

from typing import TYPE_CHECKING

from shopsearch import modules_of

if TYPE_CHECKING:
    from shopsearch.storefront import consent, similar, views

__all__ = ["consent", "similar", "views"]
__getattr__ = modules_of(__name__)
