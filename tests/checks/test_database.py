"""``manage.py check --database default``: what has outgrown Milvus Lite."""

import pytest
from django.core.checks import run_checks
from django.core.management import call_command

from shopsearch.checks import database
from shopsearch.models import IndexEntry
from tests.services.milvus import free_port
from tests.shop.store import IMAGES

pytestmark = pytest.mark.django_db

MILVUS = "shopsearch.vector_stores.milvus.MilvusStore"


@pytest.fixture
def shop(settings, monkeypatch):
    """A shop of three indexed images whose store is at this address, where Milvus Lite is for two."""
    monkeypatch.setattr(database, "LITE_ENTITIES", 2)
    for number in range(3):
        IndexEntry.objects.create(index=IMAGES.name, image_id=str(number), state="indexed")

    def shop_at(uri, **options):
        store = {"BACKEND": MILVUS, "OPTIONS": {"uri": uri, **options}}
        settings.SHOPSEARCH = {**settings.SHOPSEARCH, "VECTOR_STORE": store}

    return shop_at


def found(databases=("default",)):
    return [message for message in run_checks(databases=databases) if message.id == "shopsearch.W013"]


@pytest.mark.services
def test_W013_an_index_that_has_outgrown_milvus_lite(shop, milvus_lite):
    shop(milvus_lite)
    [message] = found()
    assert "more than 2 images in Milvus Lite" in message.msg
    assert "Milvus standalone" in message.hint
    IndexEntry.objects.last().delete()
    assert found() == []


@pytest.mark.services
def test_only_a_check_of_the_database_asks_database_and_store(
    shop, milvus_lite, django_assert_num_queries, capsys
):
    shop(milvus_lite)
    with django_assert_num_queries(0):
        assert found(databases=None) == []
    call_command("check", databases=["default"])
    assert "shopsearch.W013" in capsys.readouterr().err


def test_a_store_that_is_away_or_another_is_not_milvus_lite(shop, settings):
    assert found() == []  # of the store in memory
    shop(f"http://127.0.0.1:{free_port()}")
    assert found() == []
    shop("a-file.db")
    assert found() == []


def test_a_small_shop_does_not_ask_the_store(shop, monkeypatch):
    monkeypatch.setattr(database, "_is_milvus_lite", None)
    IndexEntry.objects.last().delete()
    assert found() == []


@pytest.mark.django_db(transaction=True)
def test_before_the_first_migrate_there_is_nothing_to_say(shop, monkeypatch):
    monkeypatch.setattr(IndexEntry._meta, "db_table", "not_there_yet")
    assert found() == []
