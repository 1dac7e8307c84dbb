"""What an operator sees of shopsearch_reconcile."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from shopsearch.backends import get_vector_store
from shopsearch.indexing import batch
from shopsearch.models import ProductImage
from tests.commands.running import away

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_workers")]


def reconcile(*arguments):
    """What it prints, and its exit code."""
    out = StringIO()
    try:
        call_command("shopsearch_reconcile", *arguments, stdout=out, stderr=out, verbosity=0)
    except SystemExit as end:
        return out.getvalue(), end.code
    return out.getvalue(), 0


def work():
    list(batch.index_pending())


def test_what_agrees_is_said_to(red, blue):
    work()
    said, code = reconcile("--index", "shopsearch_productimage")
    assert (said, code) == ("shopsearch_productimage: 4 looked at: 0 lost, 0 ghost, 0 stale\n", 0)


def test_a_difference_is_named_and_ends_with_1_until_it_is_put_right(red, blue):
    work()
    ProductImage.objects.filter(pk=red.pk)._raw_delete("default")
    said, code = reconcile()
    assert code == 1
    assert f"{red.pk} is ghost: it is not shown" in said
    said, code = reconcile("--fix")
    assert (code, "The workers repair the differences" in said) == (0, True)
    work()
    assert reconcile()[1] == 0


def test_a_program_reads_it_as_json(red):
    work()
    get_vector_store().clear()
    said, code = reconcile("--json")
    report = next(each for each in json.loads(said)["indexes"] if each["name"] == "shopsearch_productimage")
    assert code == 1
    assert (report["lost"], report["ghost"], report["stale"]) == (1, 0, 0)
    assert report["first"] == [{"image_id": str(red.pk), "kind": "lost", "reason": "it is not in the store"}]


def test_a_store_that_is_away_is_an_error_with_its_reason(red, monkeypatch):
    work()
    monkeypatch.setattr(get_vector_store(), "fetch", away)
    with pytest.raises(CommandError, match="cannot be reached"):
        reconcile()


def test_an_index_that_is_not_there_is_named():
    with pytest.raises(CommandError, match="no_such_index"):
        reconcile("--index", "no_such_index")
