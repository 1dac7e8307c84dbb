"""The index of the shop's pictures, unless an app of the shop registers its own."""

from shopsearch.contrib.oscar.index import OscarImageIndex
from shopsearch.registry.registry import register_default

register_default(OscarImageIndex)
