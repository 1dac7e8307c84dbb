"""Database routers: search works in the database that a router chooses, and ``check`` names the lines that it lacks."""

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections

from shopsearch import registry
from shopsearch.models import Change, IndexEntry, ProductImage, Rerank
from tests.shop.models import Artist, Artwork, Label, Poster, PosterImage, Product
from tests.shop.pictures import picture

from .walk import RERANKED, walk


class Router:
    """Keeps some apps in the database ``second``, and says so in each of Django's questions."""

    apps = {"shop", "shopsearch"}

    def db_for_read(self, model, **hints):
        return "second" if model._meta.app_label in self.apps else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (db == "second") == (app_label in self.apps)


class WithoutSearch(Router):
    apps = {"shop"}


@pytest.fixture
def second(tmp_path_factory, db):
    """A second database, which only the tests of this file know. Django's TestCase forbids ensure_connection alone."""
    name = tmp_path_factory.mktemp("second") / "second.sqlite3"
    connections.settings["second"] = {**connections["default"].settings_dict, "NAME": str(name)}
    connections["second"].connect()
    yield connections["second"]
    connections["second"].close()
    del connections["second"]
    del connections.settings["second"]


def use(settings, router):
    settings.DATABASE_ROUTERS = [f"{__name__}.{router.__name__}"]
    call_command("migrate", database="second", verbosity=0, run_syncdb=True)


def messages(check_id):
    return [each for each in run_checks(tags=["shopsearch"]) if each.id == f"shopsearch.{check_id}"]


def test_the_shop_and_its_search_in_a_database_that_is_not_the_default_one(client, settings, second):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, **RERANKED}
    use(settings, Router)
    assert messages("E008") == []
    assert registry.databases() == ["second"]
    walk(client)
    assert not Product.objects.using("default").exists()
    assert not IndexEntry.objects.using("default").exists()


def test_a_router_that_forgets_search_is_E008_and_fails_no_save(settings, second, caplog):
    use(settings, WithoutSearch)
    named = {each.obj: each for each in messages("E008")}
    assert named.keys() == {ProductImage, PosterImage, Artwork}
    assert "the router keeps shopsearch's tables out of 'second'" in named[PosterImage].msg
    assert (
        "shop.Product is written to 'second', but shopsearch.ProductImage to 'default'"
        in named[ProductImage].msg
    )
    for message in named.values():
        assert 'app_label == "shopsearch"' in message.hint
        assert "migrate --database second" in message.hint
    for _again in range(2):
        Product.objects.create(title="mug").save()
        poster = Poster.objects.create(title="poster", artist=Artist.objects.create(name="artist"))
        PosterImage.objects.create(product=poster, image=picture()).delete()
        poster.labels.add(Label.objects.create(name="label"))
        poster.artist.delete()
    said = [each.getMessage() for each in caplog.records if "E008" in each.getMessage()]
    assert len(said) == len(set(said)) == 2
    assert Change.objects.using("default").count() == 0


class Replica:
    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"


def test_what_a_rerank_is_made_and_answered_by_is_never_read_from_a_replica_that_lags(settings):
    settings.DATABASE_ROUTERS = [f"{__name__}.Replica"]
    assert {Rerank.objects.all().db, Rerank.objects.waiting().db} == {"default"}
