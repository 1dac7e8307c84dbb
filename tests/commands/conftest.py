"""A shop with a red, a blue and a broken picture, with and without workers."""

from io import BytesIO

import pytest
from celery import current_app
from django.core.files.base import ContentFile
from PIL import Image

from shopsearch import broker
from shopsearch.backends import get_vector_store
from shopsearch.broker import celery as celery_wake_up
from shopsearch.indexing import batch
from shopsearch.models import ProductImage
from tests.shop.models import Product


def picture(colour, name="picture.png"):
    content = BytesIO()
    Image.new("RGB", (40, 40), colour).save(content, "PNG")
    return ContentFile(content.getvalue(), name=name)


@pytest.fixture(autouse=True)
def _fresh_store(monkeypatch):
    monkeypatch.setattr(celery_wake_up, "PING_SECONDS", 0.05)  # nobody answers on a broker in memory
    get_vector_store().clear()
    yield
    get_vector_store().clear()


@pytest.fixture
def red():
    return ProductImage.objects.create(product=Product.objects.create(title="mug"), image=picture("red"))


@pytest.fixture
def blue():
    return ProductImage.objects.create(product=Product.objects.create(title="cup"), image=picture("blue"))


@pytest.fixture
def broken():
    product = Product.objects.create(title="shard")
    return ProductImage.objects.create(product=product, image=ContentFile(b"no picture", name="shard.png"))


@pytest.fixture
def workers(monkeypatch):
    """Workers that are woken and do everything at once."""

    def work():
        for _ in batch.index_pending():
            pass

    monkeypatch.setattr(broker, "send", work)
    monkeypatch.setitem(current_app.conf, "broker_url", "memory://")


@pytest.fixture
def no_workers(monkeypatch):
    monkeypatch.setattr(broker, "send", lambda: True)
    monkeypatch.setitem(current_app.conf, "broker_url", "memory://")
