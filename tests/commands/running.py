"""Run a command as an operator does, and look at what it left."""

import json
from io import StringIO

from django.core.management import call_command

from shopsearch.backends import get_vector_store
from shopsearch.exceptions import VectorStoreError
from shopsearch.models import IndexEntry, ProductImage
from shopsearch.registry import index_for
from tests.shop.store import live_name

INDEX = "shopsearch_productimage"


def reindex(*arguments):
    out = StringIO()
    call_command("shopsearch_reindex", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def states():
    return dict(IndexEntry.objects.values_list("image_id", "state"))


def entities():
    return get_vector_store().count(live_name(index_for(ProductImage)))


def row(image):
    return IndexEntry.objects.filter(image_id=image.pk)


def away(*arguments, **options):
    raise VectorStoreError


def status(*arguments):
    """What it prints, and its exit code."""
    out = StringIO()
    try:
        call_command("shopsearch_status", *arguments, stdout=out)
    except SystemExit as end:
        return out.getvalue(), end.code
    return out.getvalue(), 0


def status_json():
    text, code = status("--json")
    return json.loads(text), code


def the_index(report, name=INDEX):
    return next(index for index in report["indexes"] if index["name"] == name)
