"""Signals: a save or a deletion is noted when its transaction is committed, and never when it is not."""

import contextlib
import io

import pytest
from django.core import serializers
from django.db import IntegrityError, models, transaction
from django.db.models.signals import post_save

from shopsearch import broker
from shopsearch.indexing import receivers as signals
from shopsearch.models import Change, ProductImage
from shopsearch.models.outbox import ChangeQuerySet
from shopsearch.registry import index_for
from tests.shop.models import Artwork, Category, Poster, PosterImage, Product
from tests.shop.pictures import GREEN, RED, picture, product

pytestmark = pytest.mark.django_db


@pytest.fixture
def wakes(monkeypatch):
    """One per wake-up that a commit has caused."""
    sent = []
    monkeypatch.setattr(broker, "wake", lambda: sent.append(True))
    return sent


def rows(**conditions):
    found = Change.objects.filter(**conditions).order_by("index", "image_id")
    return [(row.index, row.image_id, "deleted" if row.is_deletion else "changed") for row in found]


def forget():
    Change.objects.all().delete()


@pytest.mark.parametrize("using", [ProductImage, PosterImage, Artwork])
def test_an_image_of_each_kind_of_model_is_noted_when_it_is_saved_and_deleted(using):
    parents = {ProductImage: Product, PosterImage: Poster}
    if using is Artwork:
        image = Artwork.objects.create(code="mona lisa", original=picture())
    else:
        image = using.objects.create(product=parents[using].objects.create(title="x"), image=picture())
    name, key = f"{using._meta.app_label}_{using._meta.model_name}", str(image.pk)
    assert rows() == [(name, key, "changed")]
    forget()
    image.delete()
    assert rows() == [(name, key, "deleted")]


def test_a_saved_product_has_its_own_images_looked_at_and_no_others():
    shoe, _ = product(RED, GREEN), product(RED)
    forget()
    shoe.save()
    assert {image_id for _, image_id, _ in rows()} == {str(image.pk) for image in shoe.images.all()}


def test_what_is_no_product_and_no_image_leaves_no_row():
    Category.objects.create(name="mugs")
    assert rows() == []


def test_a_deleted_product_notes_the_deletion_of_each_image():
    shoe = product(RED, GREEN)
    forget()
    shoe.delete()
    assert [what for _, _, what in rows()] == ["deleted", "deleted"]


def test_images_loaded_from_a_fixture_are_noted():
    product(RED)
    fixture = serializers.serialize("json", [*Product.objects.all(), *ProductImage.objects.all()])
    forget()
    for each in serializers.deserialize("json", io.StringIO(fixture)):
        each.save()
    assert {what for _, _, what in rows()} == {"changed"}
    assert len({image_id for _, image_id, _ in rows()}) == 1


def test_an_image_saved_through_a_proxy_is_noted():
    class Cover(PosterImage):
        class Meta:
            proxy = True
            app_label = "shop"

    signals.connect()
    try:
        Cover.objects.create(product=Poster.objects.create(title="x"), image=picture())
        assert [name for name, _, _ in rows()] == ["shop_posterimage"]
    finally:
        from django.apps import apps

        del apps.all_models["shop"]["cover"]
        apps.clear_cache()


def test_connecting_twice_connects_once():
    before = len(post_save.receivers)
    signals.connect()
    assert len(post_save.receivers) == before


def test_images_that_outlive_their_product_are_looked_at_before_nobody_knows_whose_they_were(monkeypatch):
    key = PosterImage._meta.get_field("product").remote_field
    monkeypatch.setattr(key, "on_delete", models.SET_NULL)
    receivers, connected = signals.Receivers(index_for(PosterImage)), []
    monkeypatch.setattr(receivers, "_connect", lambda *connection: connected.append(connection))
    receivers.connect()
    assert (models.signals.pre_delete, receivers.product_changed, Poster) in connected


# Transactions


@pytest.mark.django_db(transaction=True)
def test_a_rollback_leaves_no_row_and_no_wake_up(wakes):
    with transaction.atomic():
        product(RED)
        assert rows()
        transaction.set_rollback(True)
    assert rows() == []
    assert wakes == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", [ProductImage, Product])
def test_outside_of_a_transaction_too_a_save_is_not_committed_without_its_row(monkeypatch, model):
    product(RED)
    saved = model.objects.get()
    before = model.objects.values().get()

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(ChangeQuerySet, "note", killed)
    saved.position = saved.price = 7
    with pytest.raises(KeyboardInterrupt):
        saved.save()
    assert model.objects.values().get() == before


@pytest.mark.django_db(transaction=True)
def test_fifty_images_in_one_transaction_are_one_wake_up_after_it(wakes):
    with transaction.atomic():
        product(*[RED] * 50)
        assert wakes == []
    assert len(rows()) == 50
    assert len(wakes) == 1


@pytest.mark.django_db(transaction=True)
def test_a_savepoint_that_is_rolled_back_takes_only_its_own_wake_up_with_it(wakes):
    with transaction.atomic():
        with transaction.atomic():
            product(RED)
            transaction.set_rollback(True)
        product(GREEN)
    assert (len(rows()), len(wakes)) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_save_succeeds_even_if_waking_raises(monkeypatch):
    def broken():
        raise RuntimeError("a mistake in a wake-up")

    monkeypatch.setattr(broker, "wake", broken)
    product(RED)
    assert len(rows()) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", [Product, ProductImage])
def test_an_error_that_the_shops_own_receiver_swallows_does_not_take_the_save_back(model):
    Category.objects.create(pk=5, name="there already")

    def receive(**kwargs):
        with contextlib.suppress(IntegrityError):
            Category.objects.create(pk=5, name="once more")

    post_save.connect(receive, sender=model)
    try:
        made = product(RED)
        assert Product.objects.filter(pk=made.pk).exists()
        assert ProductImage.objects.filter(product=made).exists()
    finally:
        post_save.disconnect(receive, sender=model)


@pytest.mark.django_db(transaction=True)
def test_the_shops_own_receivers_run_after_the_commit_as_django_has_it():
    inside = []

    def receive(**kwargs):
        inside.append(transaction.get_connection().in_atomic_block)

    post_save.connect(receive, sender=Product)
    try:
        Product.objects.create(title="mug")
    finally:
        post_save.disconnect(receive, sender=Product)
    assert inside == [False]
