"""Kept vectors by space: while a collection is filled beside another, and until the former one is dropped."""

import random
from contextlib import suppress

import pytest

from shopsearch.backends import get_embedder, get_former_embedder
from shopsearch.indexing import rebuild
from shopsearch.models import CachedVector, Collection, ProductImage
from shopsearch.testing import ColourEmbedder
from tests.indexing.rebuilds import COLOUR, GREYS, MIRROR, in_live, live, states, step, use, work
from tests.shop.models import Product
from tests.shop.pictures import product
from tests.shop.store import IMAGES, replace_file

pytestmark = pytest.mark.django_db


def publish(published, titles=("red", "green")):
    for each in Product.objects.filter(title__in=titles):
        each.published = published
        each.save()


def embedded():
    return get_embedder().embedded, get_former_embedder().embedded


def spaces():
    return sorted(CachedVector.objects.values_list("space", flat=True))


def test_what_is_hidden_and_shown_during_a_rebuild_is_embedded_again_in_neither_space(other_model):
    rebuild.begin(IMAGES)
    for _ in range(3):
        step()
    rebuild.pause(IMAGES)
    work()
    publish(False)
    work()
    assert spaces() == ["colour", "colour", "mirror", "mirror"]
    publish(True)
    rebuild.resume(IMAGES)
    work()
    assert embedded() == (3 + GREYS, 0)
    assert len(in_live()) == 3 + GREYS
    assert spaces() == []


def test_what_was_hidden_before_a_rebuild_is_there_for_a_rollback_after_it(settings, other_model):
    old = live()
    publish(False)
    work()
    rebuild.begin(IMAGES)
    work()
    publish(True)
    work()
    assert (embedded(), states()) == ((3 + GREYS, 0), ["retired", "live"])
    assert spaces() == ["colour", "colour"], "the former collection lacks them"
    use(settings, COLOUR, MIRROR)
    rebuild.roll_back(IMAGES)
    work()
    assert (live().name, len(in_live()), embedded()) == (old.name, 3 + GREYS, (0, 0))
    assert spaces() == []


def test_a_space_that_no_collection_has_any_more_is_forgotten(other_model):
    rebuild.begin(IMAGES)
    work()
    publish(False)
    work()
    assert spaces() == ["colour", "colour", "mirror", "mirror"]
    rebuild.prune(IMAGES)
    assert spaces() == ["mirror", "mirror"]


def test_what_was_kept_for_a_rebuild_that_is_cancelled_is_forgotten(other_model):
    rebuild.begin(IMAGES)
    rebuild.pause(IMAGES)
    product((230, 200, 30), title="red")
    work()
    publish(False)
    work()
    assert spaces() == ["colour", "colour", "colour", "mirror"]
    rebuild.cancel(IMAGES)
    assert spaces() == ["colour", "colour", "colour"]


@pytest.mark.parametrize("seed", range(2))
def test_whatever_a_shop_hides_and_rebuilds_each_picture_is_embedded_once_in_each_space(
    settings, shop, seed, monkeypatch
):
    dice, seen, shades = random.Random(seed), [], iter(range(256))
    embed = ColourEmbedder.embed

    def noted(self, queries):
        seen.extend((self.space, query.image.tobytes()) for query in queries)
        return embed(self, queries)

    monkeypatch.setattr(ColourEmbedder, "embed", noted)
    new = lambda: (next(shades), 250, 0)  # noqa: E731
    models = [COLOUR, MIRROR]
    for _ in range(40):
        products = list(Product.objects.order_by("pk"))
        chosen = dice.sample(products, min(len(products), 4))
        act = dice.choice(["hide or show"] * 6 + ["replace", "add", "delete", "rebuild", "roll back", "turn"])
        if act == "hide or show":
            for each in chosen:
                each.published = not each.published
                each.save()
        elif act == "replace":
            replace_file(chosen[0].images.get(), new())
        elif act == "add":
            product(new())
        elif act == "delete":
            chosen[0].delete()
        elif not Collection.objects.of(IMAGES).unfinished().first():
            models.reverse()
            use(settings, *models)
            with suppress(rebuild.Refused):
                rebuild.roll_back(IMAGES) if act == "roll back" else rebuild.begin(IMAGES)
        step() if dice.random() < 0.5 else work()
    work()
    shown = ProductImage.objects.filter(product__published=True)
    assert set(in_live()) == {str(image.pk) for image in shown}
    assert len(seen) == len(set(seen))
