"""A row that is saved is told of in the transaction that writes it, and else by post_save."""

import pytest
from django.db import models, transaction
from django.db.models.signals import post_save, pre_save

from shopsearch.indexing import saves
from shopsearch.models import Change, ProductImage
from tests.shop.models import Product
from tests.shop.pictures import RED, product

pytestmark = pytest.mark.django_db


def noted():
    return list(Change.objects.values_list("image_id", flat=True))


@pytest.fixture
def shoe():
    made = product(RED)
    Change.objects.all().delete()
    return made


@pytest.fixture
def unknown_django(monkeypatch):
    """A Django whose private method has one more parameter."""
    plain = models.Model._save_table
    monkeypatch.setattr(models.Model, "_save_table", lambda self, raw=False, cls=None, row=None: plain(self))


@pytest.fixture
def followed():
    """Follow a model as if for the first time, and give what its followers are told."""
    told, kept = [], {}

    def follow(model):
        for name in ("_save_table", "shopsearch_followers"):
            kept[model, name] = model.__dict__[name]
            delattr(model, name)
        saves.add_follower(
            model,
            "test",
            lambda row, **kwargs: told.append(("after", row, kwargs)),
            lambda row, **kwargs: told.append(("before", row, kwargs)),
        )
        return told

    yield follow
    for (model, name), value in kept.items():
        if name in model.__dict__:
            delattr(model, name)
        setattr(model, name, value)
    for sender in saves.kin_of(Product):
        pre_save.disconnect(sender=sender, dispatch_uid=f"shopsearch:{sender._meta.label}")


def test_a_save_is_noted_once(shoe):
    shoe.save()
    assert noted() == [str(shoe.images.get().pk)]
    shoe.save(update_fields=["price"])
    assert len(noted()) == 2


@pytest.mark.parametrize("with_all", [True, False])
def test_an_app_that_writes_with_update_and_sends_post_save_itself_is_followed(shoe, with_all):
    """As django-oscar's StockRecord.allocate() does."""
    Product.objects.filter(pk=shoe.pk).update(in_stock=False)
    more = {"raw": False, "using": "default", "update_fields": None} if with_all else {}
    post_save.send(sender=Product, instance=shoe, created=False, **more)
    assert noted() == [str(shoe.images.get().pk)]


def test_post_save_that_an_app_sends_after_a_save_is_followed_too(shoe):
    shoe.save()
    post_save.send(sender=Product, instance=shoe, created=False)
    assert len(noted()) == 2


def test_an_image_whose_post_save_is_sent_by_the_app_is_noted(shoe):
    image = shoe.images.get()
    post_save.send(sender=ProductImage, instance=image, created=False)
    assert noted() == [str(image.pk)]


@pytest.mark.django_db(transaction=True)
def test_followers_are_told_in_the_transaction_that_writes_the_row(followed):
    inside = []
    followed(Product)
    saves.add_follower(
        Product, "test", lambda row, **kw: inside.append(transaction.get_connection().in_atomic_block)
    )
    Product.objects.create(title="mug")
    assert inside == [True]


def test_a_django_that_is_not_known_is_followed_by_its_signals(unknown_django, followed, caplog):
    told = followed(Product)
    assert saves.OUTSIDE in caplog.text
    mug = Product(title="mug")
    for signal in (pre_save, post_save):
        signal.send(sender=Product, instance=mug, using="default", update_fields=["title"])
    expected = {"using": "default", "update_fields": ["title"]}
    assert told == [("before", mug, expected), ("after", mug, expected)]


def test_the_django_at_hand_is_known():
    assert saves.is_wrappable()


def test_a_proxy_a_child_and_a_parent_are_followed_through_the_table_they_share():
    class Bestseller(Product):
        class Meta:
            proxy = True
            app_label = "shop"

    class Bundle(Product):
        class Meta:
            app_label = "shop"

    try:
        assert saves.tables_of(Bestseller) == {Product}
        assert saves.tables_of(Bundle) == {Product, Bundle}
        assert {Product, Bestseller} <= set(saves.kin_of(Bestseller))
        assert {Product, Bundle} <= set(saves.kin_of(Bundle))
    finally:
        from django.apps import apps

        for name in ("bestseller", "bundle"):
            del apps.all_models["shop"][name]
        apps.clear_cache()
