"""manage.py shopsearch_calibrate over the stand-ins that see colour."""

import json
from io import StringIO

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from PIL import Image

from shopsearch import tasks
from shopsearch.evaluation import calibrator
from shopsearch.evaluation.calibrator import Sample
from shopsearch.indexing import batch
from shopsearch.models import IndexEntry, ProductImage
from shopsearch.models.evaluation import Calibration
from shopsearch.registry import index_for
from shopsearch.search.engine import search
from shopsearch.testing import ColourEmbedder, picture
from shopsearch.types import Query
from tests.shop.models import Product

pytestmark = pytest.mark.django_db

PAINTS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 210)}
NAMES = {"red": ("red", "scarlet"), "green": ("green", "verde"), "blue": ("blue", "azul")}


def calibrate(**options):
    out = StringIO()
    call_command("shopsearch_calibrate", stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def shop(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    for number in range(30):
        name = list(PAINTS)[number % 3]
        shade = tuple(min(255, each + number) for each in PAINTS[name])
        made = Product.objects.create(title=NAMES[name][number % 2])  # the stand-ins see nothing but colours
        ProductImage.objects.create(product=made, image=picture(shade))
    list(batch.index_pending())


@pytest.mark.usefixtures("shop")
def test_after_a_calibration_what_is_not_sold_is_told_from_what_is():
    assert search("volcano").match == "unknown"
    said = calibrate()
    assert search("red").match == search("green").match == "good"
    assert search("volcano").match == search("purple").match == "weak"
    assert {each.kind: each.pairs for each in Calibration.objects.all()} == {
        "text": 30,
        "image": 30,
        "composed": 30,
    }
    assert "text      weak below" in said
    assert all(len(line) <= 80 for line in said.splitlines())


@pytest.mark.usefixtures("shop")
def test_at_most_the_share_that_is_asked_for_is_flagged_of_what_is_sold():
    for share in (0.02, 0.2):
        report = json.loads(calibrate(json=True, share=share))
        assert set(report["kinds"]) == {"text", "image", "composed"}
        assert all(kind["flagged_of_what_is_sold"] <= share + 0.04 for kind in report["kinds"].values())


@pytest.mark.usefixtures("shop")
def test_the_same_shop_gives_the_same_calibration_and_one_row_of_each_kind():
    assert calibrate(json=True) == calibrate(json=True)
    assert Calibration.objects.count() == 3


@pytest.mark.usefixtures("shop")
def test_a_picture_that_is_lost_is_passed_over():
    image = ProductImage.objects.first()
    image.image.storage.delete(image.image.name)
    assert json.loads(calibrate(json=True))["kinds"]["image"]["pairs"] == 29


@pytest.mark.usefixtures("shop")
def test_a_worker_calibrates_by_itself_when_all_is_indexed_once_for_each_model(monkeypatch):
    monkeypatch.setattr("shopsearch.broker.wake_calibrator", tasks.calibrate)
    assert search("volcano").match == "unknown"
    tasks.sweep()
    assert Calibration.objects.count() == 3
    assert search("volcano").match == "weak"
    assert search("red").match == "good"
    assert not list(calibrator.uncalibrated())
    Calibration.objects.update(space="another_model")
    assert list(calibrator.uncalibrated()) == [index_for(ProductImage)]


@pytest.mark.usefixtures("shop")
def test_nothing_is_calibrated_while_images_wait():
    IndexEntry.objects.filter(pk=IndexEntry.objects.first().pk).update(state=IndexEntry.State.PENDING)
    assert not list(calibrator.uncalibrated())


def test_a_shop_that_is_not_indexed_is_told_what_to_do(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    with pytest.raises(CommandError, match="shopsearch_reindex"):
        calibrate()


def test_a_shop_of_few_products_cannot_be_measured(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    made = Product.objects.create(title="red mug")
    ProductImage.objects.create(product=made, image=ContentFile(picture("red").read(), "red.png"))
    list(batch.index_pending())
    with pytest.raises(CommandError, match="at least 20"):
        calibrate()


def test_a_share_that_is_none_is_refused():
    with pytest.raises(CommandError, match="between 0 and 1"):
        calibrate(share=2)


def test_where_words_are_found_other_words_are_judged_strictly_even_by_a_model_that_cannot_tell():
    image, embedder = Image.new("RGB", (8, 8), "red"), ColourEmbedder()
    [vector] = embedder.embed([Query(image=image)])
    samples = [Sample(product_id=str(each), text="red mug", image=image, vector=vector) for each in range(40)]

    def flagged(**options):
        dice = np.random.default_rng(3)
        measured = calibrator.measure(
            samples,
            index="",
            embedder=embedder,
            typical=np.zeros_like(vector),
            best=lambda vectors, without: dice.random(len(vectors)),
            **options,
        )
        return {each.calibration.kind: (each.flagged_sold, each.flagged_unsold) for each in measured}

    alone, by_words = flagged(), flagged(finds_by_words=True)
    assert alone["text"][1] < 0.2
    assert by_words["text"][0] == 0
    assert by_words["text"][1] > 0.3
    assert {kind: by_words[kind] for kind in ("image", "composed")} == {
        kind: alone[kind] for kind in ("image", "composed")
    }
