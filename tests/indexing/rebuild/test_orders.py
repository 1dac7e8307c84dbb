"""What operators ask of a rebuild: to pause, to go on, to be dropped, to be taken back."""

import pytest

from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import rebuild
from shopsearch.indexing.rebuild import Refused
from shopsearch.models import Change, Collection, ProductImage
from tests.indexing.rebuilds import COLOUR, GREYS, MIRROR, found, live, states, step, use, work
from tests.shop.models import Product
from tests.shop.store import IMAGES, hash_in_store, hash_of, replace_file, stored

pytestmark = pytest.mark.django_db


def test_a_paused_rebuild_gives_the_workers_nothing_and_goes_on_where_it_was(other_model):
    rebuild.begin(IMAGES)
    step()
    rebuild.pause(IMAGES)
    work()
    before = get_embedder().embedded
    work()
    assert get_embedder().embedded == before < 3 + GREYS
    rebuild.resume(IMAGES)
    work()
    assert (get_embedder().embedded, states()) == (3 + GREYS, ["retired", "live"])


def test_a_cancelled_rebuild_leaves_the_store_as_it_was(other_model, store):
    names = store.collections()
    rebuild.begin(IMAGES)
    step()
    rebuild.cancel(IMAGES)
    work()
    assert (store.collections(), states()) == (names, ["live"])
    assert found()[0] == "red"


def test_a_rebuild_is_refused_while_one_is_under_way_and_where_nothing_is_indexed(other_model):
    rebuild.begin(IMAGES)
    with pytest.raises(Refused, match="--resume"):
        rebuild.begin(IMAGES)
    rebuild.pause(IMAGES)
    with pytest.raises(Refused, match="--resume"):
        rebuild.begin(IMAGES)
    Collection.objects.of(IMAGES).delete()
    with pytest.raises(Refused, match="nothing is indexed"):
        rebuild.begin(IMAGES)
    for verb in (rebuild.pause, rebuild.resume, rebuild.cancel):
        with pytest.raises(Refused, match="no rebuild is under way"):
            verb(IMAGES)


def test_a_rollback_brings_the_former_collection_back_with_what_changed_since(settings, other_model):
    old = live()
    rebuild.begin(IMAGES)
    work()
    image = ProductImage.objects.get(product__title="green")
    replace_file(image, (250, 140, 20))
    Change.objects.note(IMAGES, [image.pk])
    Product.objects.filter(title="blue").first().delete()
    work()
    use(settings, COLOUR, MIRROR)
    rebuild.roll_back(IMAGES)
    assert found()[0] == "red", "the new one answers until the old one has caught up"
    work()
    assert live().name == old.name
    assert found("orange")[0] == "green"
    assert "blue" not in found("blue")
    assert get_embedder().embedded == 1 + 2, "the replaced picture, and two queries"
    assert states() == ["live", "retired"]
    use(settings, MIRROR, COLOUR)
    rebuild.roll_back(IMAGES)
    work()
    assert live().space == "mirror", "a rollback can be taken back"


def test_a_rollback_without_the_model_or_the_collection_is_refused(settings, other_model):
    with pytest.raises(Refused, match="no earlier collection"):
        rebuild.roll_back(IMAGES)
    rebuild.begin(IMAGES)
    work()
    use(settings, MIRROR)
    with pytest.raises(Refused, match="FORMER_EMBEDDER"):
        rebuild.roll_back(IMAGES)


def test_pruning_drops_what_nothing_uses_and_the_alias_names_the_live_collection(other_model, store):
    old = live()
    new = rebuild.begin(IMAGES)
    work()
    assert get_vector_store().aliases == {"shopsearch_shopsearch_productimage": new.name}
    forgotten = "shopsearch_shopsearch_productimage_colour_0123abcd_v77"
    others = "shopsearch_shopsearch_productimage_of_another_project"
    for name in (forgotten, others):
        store.ensure_collection(name, old.schema)
    assert rebuild.prune(IMAGES) == sorted([old.name, forgotten])
    assert store.collections() == sorted([new.name, others])
    assert found()[0] == "red"
    work()
    assert rebuild.prune(IMAGES) == []


def test_what_is_known_of_collections_that_are_dropped_is_forgotten(other_model):
    rebuild.begin(IMAGES)
    work()
    rebuild.prune(IMAGES)
    image = ProductImage.objects.first()
    assert list(stored(image)) == [live().pk]
    assert hash_in_store(image) == hash_of(image)
