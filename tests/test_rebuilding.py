"""Rebuilding: at any moment a search sees either the complete old collection or the complete new one."""

from dataclasses import replace

import pytest

from shopsearch import FilterField, batches, changes, filling, indexing, rebuilding, serving
from shopsearch.backends import get_embedder, get_former_embedder, get_vector_store
from shopsearch.exceptions import BackendError, EmbedderError
from shopsearch.models import IndexEntry, ProductImage
from shopsearch.rebuilding import Refused
from shopsearch.search import search
from tests.rebuilds import COLOUR, MIRROR, live, states, use, work
from tests.shop.models import Product
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import IMAGES, due_now, entry, hash_of, replace_file

pytestmark = pytest.mark.django_db

GREYS = 12


@pytest.fixture(autouse=True)
def store(settings):
    use(settings, COLOUR, BATCH_SIZE=2, QUERY_CACHE_SECONDS=0)
    get_vector_store().clear()
    return get_vector_store()


@pytest.fixture
def shop():
    """A red, a green and a blue product, and grey ones; indexed."""
    for colour, title in ((RED, "red"), (GREEN, "green"), (BLUE, "blue")):
        product(colour, title=title)
    for number in range(GREYS):
        product((120 + number, 120 + number, 120 + number), title="grey")
    work()


@pytest.fixture
def other_model(settings, shop):
    use(settings, MIRROR, COLOUR)


def found(words="red", **filters):
    return [result.product.title for result in search(words, filters=filters, limit=3).results]


def step():
    """One batch, as a worker does it."""
    filling.advance()
    indexing.index_batch()
    filling.advance()


def in_live():
    store, collection = get_vector_store(), live().name
    return {entity.image_id: entity for entity in store.fetch(collection, list(store.ids(collection)))}


# Another model


def test_while_a_new_models_collection_is_filled_the_old_one_answers_and_then_the_new_one(other_model):
    old = live()
    new = rebuilding.begin(IMAGES)
    steps = 0
    while live() == old:
        assert found()[0] == "red"
        step()
        steps += 1
    assert steps > GREYS // 2, "the workers were given a few at a time"
    assert live() == new
    assert found()[0] == "red"
    assert states() == ["retired", "live"]


def test_every_search_is_answered_by_one_model_even_in_the_moment_of_the_switch(other_model, monkeypatch):
    """The switch comes between the choice of the collection and the search in it."""
    rebuilding.begin(IMAGES)
    former, embed = get_former_embedder(), get_former_embedder().embed

    def switched_meanwhile(queries):
        monkeypatch.undo()
        work()
        rebuilding.prune(IMAGES)
        return embed(queries)

    monkeypatch.setattr(former, "embed", switched_meanwhile)
    assert found()[0] == "red"
    assert states() == ["live"]


def test_no_picture_is_embedded_twice_in_one_space(other_model):
    rebuilding.begin(IMAGES)
    work()
    assert (get_embedder().embedded, get_former_embedder().embedded) == (3 + GREYS, 0)


def test_what_changes_meanwhile_is_written_to_both(other_model):
    rebuilding.begin(IMAGES)
    step()
    product((230, 200, 30), title="yellow")
    image = ProductImage.objects.get(product__title="green")
    replace_file(image, (250, 140, 20))
    Product.objects.filter(title="blue").first().delete()
    Product.objects.filter(title="green").update(title="orange")
    old = live()
    for _ in range(4):
        indexing.index_batch()
    assert live() == old
    assert found("yellow")[0] == "yellow"
    assert found("orange")[0] == "orange"
    assert "blue" not in found("blue")
    work()
    assert live() != old
    assert found("yellow")[0] == "yellow"
    assert found("orange")[0] == "orange"
    assert "blue" not in found("blue")
    assert len(in_live()) == ProductImage.objects.count()


def test_a_change_is_embedded_by_each_space_own_model(other_model):
    rebuilding.begin(IMAGES)
    rebuilding.pause(IMAGES)
    product((230, 200, 30), title="yellow")
    work()
    assert (get_embedder().embedded, get_former_embedder().embedded) == (1, 1)
    assert len(IndexEntry.objects.latest("pk").held) == 2


def test_without_the_former_model_a_search_says_what_to_do(settings, shop):
    use(settings, MIRROR)
    with pytest.raises(EmbedderError, match="FORMER_EMBEDDER"):
        search("red")


def test_without_the_former_model_new_images_wait_and_prices_and_deletions_do_not(settings, shop):
    use(settings, MIRROR)
    Product.objects.filter(title="blue").first().delete()
    green = Product.objects.get(title="green")
    green.price = 7
    green.save()
    image = product((230, 200, 30), title="yellow").images.get()
    work()
    assert (entry(image).state, "FORMER_EMBEDDER" in entry(image).error) == ("pending", True)
    assert in_live()[str(green.images.get().pk)].fields["price"] == 7
    assert len(in_live()) == 2 + GREYS
    rebuilding.begin(IMAGES)
    due_now()
    work()
    assert found("yellow")[0] == "yellow"
    assert entry(image).error == ""


# Other filters


@pytest.fixture
def other_filters(shop, monkeypatch):
    filters = {"price": float, "in_stock": bool, "name": FilterField(str, "title")}
    monkeypatch.setattr(type(IMAGES), "filters", filters)


def test_other_filters_are_filled_in_with_no_picture_embedded(other_filters):
    rebuilding.begin(IMAGES)
    get_embedder().embedded = searches = 0
    while states()[-1] == "building":
        assert found()[0] == "red"
        assert found("red", in_stock=True)[0] == "red"
        with pytest.raises(BackendError, match="'name' is being built"):
            search("red", filters={"name": "green"})
        searches += 2
        step()
    assert get_embedder().embedded == searches
    assert found("red", name="green") == ["green"]


def test_a_filter_of_another_type_is_being_built_too(shop, monkeypatch):
    monkeypatch.setattr(type(IMAGES), "filters", {"price": str})
    with pytest.raises(BackendError, match="'price' is being built"):
        search("red", filters={"price": "5"})


def test_what_is_written_to_the_old_collection_keeps_the_filters_that_are_not_declared_any_more(
    shop, monkeypatch
):
    monkeypatch.setattr(type(IMAGES), "filters", {"price": float})
    image = ProductImage.objects.get(product__title="red")
    image.product.price = 9
    image.product.save()
    work()
    assert in_live()[str(image.pk)].fields == {"category": None, "price": 9, "in_stock": True, "tags": ()}


# Nothing is lost


def test_an_image_that_a_worker_took_before_the_rebuild_began_is_not_missed(other_model, monkeypatch):
    """It asked for its targets when there was one, and comes back after everything else is done."""
    image = product((230, 200, 30), title="yellow").images.get()
    embed = get_former_embedder().embed

    def rebuilt_meanwhile(queries):
        monkeypatch.undo()
        rebuilding.begin(IMAGES)
        work()
        return embed(queries)

    monkeypatch.setattr(get_former_embedder(), "embed", rebuilt_meanwhile)
    indexing.index_batch()
    assert states() == ["live", "building"], "it waits for what was under way"
    assert found("yellow")[0] == "yellow"
    work()
    assert states() == ["retired", "live"]
    assert found("yellow")[0] == "yellow"
    assert entry(image).held.keys() == {str(collection.pk) for collection in serving.collections_of(IMAGES)}


def test_images_that_nobody_was_told_of_are_in_the_new_collection(shop):
    ProductImage.objects.bulk_create([ProductImage(product=Product.objects.first(), image="missing.png")])
    rebuilding.begin(IMAGES)
    work()
    assert entry(ProductImage.objects.latest("pk")).state == "failed"


def test_a_collection_that_lost_something_does_not_answer_until_it_was_found(shop, store):
    old = live()
    new = rebuilding.begin(IMAGES)
    step()
    lost = list(store.ids(new.name))
    assert lost
    [entity] = store.fetch(old.name, list(store.ids(old.name))[:1])
    store.delete(new.name, lost)
    store.upsert(new.name, [replace(entity, id="f" * 32, image_id="12345")])
    work()
    assert live() == old
    paused = serving.unfinished(IMAGES)
    assert paused.state == "paused"
    assert "entities where" in paused.error
    rebuilding.resume(IMAGES)
    work()
    assert live() == new
    assert set(in_live()) == {str(image.pk) for image in ProductImage.objects.all()}


def test_a_picture_that_only_the_new_model_stumbles_over_pauses_the_rebuild_and_stays_findable(
    other_model, monkeypatch
):
    embed = get_embedder().embed

    def stumbling(queries):
        if any(query.image is not None and query.image.getpixel((0, 0)) == RED for query in queries):
            raise RuntimeError("no red, please")
        return embed(queries)

    monkeypatch.setattr(get_embedder(), "embed", stumbling)
    rebuilding.begin(IMAGES)
    for _ in range(batches.MAX_ATTEMPTS):
        work()
        due_now()
    work()
    assert states() == ["live", "paused"]
    assert "no red, please" in serving.unfinished(IMAGES).error
    assert found()[0] == "red"
    assert not IndexEntry.objects.exclude(state="indexed").exists()


def test_a_worker_that_is_older_than_the_new_collection_leaves_it_to_others(settings, other_model):
    rebuilding.begin(IMAGES)
    use(settings, COLOUR)
    product((230, 200, 30), title="yellow")
    work()
    assert found("yellow")[0] == "yellow"
    assert states() == ["live", "building"]
    use(settings, MIRROR, COLOUR)
    work()
    assert states() == ["retired", "live"]
    assert found("yellow")[0] == "yellow"


# What operators ask for


def test_a_paused_rebuild_gives_the_workers_nothing_and_goes_on_where_it_was(other_model):
    rebuilding.begin(IMAGES)
    step()
    rebuilding.pause(IMAGES)
    work()
    before = get_embedder().embedded
    work()
    assert get_embedder().embedded == before < 3 + GREYS
    rebuilding.resume(IMAGES)
    work()
    assert (get_embedder().embedded, states()) == (3 + GREYS, ["retired", "live"])


def test_a_cancelled_rebuild_leaves_the_store_as_it_was(other_model, store):
    names = store.collections()
    rebuilding.begin(IMAGES)
    step()
    rebuilding.cancel(IMAGES)
    work()
    assert (store.collections(), states()) == (names, ["live"])
    assert found()[0] == "red"


def test_a_rebuild_is_refused_while_one_is_under_way_and_where_nothing_is_indexed(other_model):
    rebuilding.begin(IMAGES)
    with pytest.raises(Refused, match="--resume"):
        rebuilding.begin(IMAGES)
    rebuilding.pause(IMAGES)
    with pytest.raises(Refused, match="--resume"):
        rebuilding.begin(IMAGES)
    serving.collections_of(IMAGES).delete()
    with pytest.raises(Refused, match="nothing is indexed"):
        rebuilding.begin(IMAGES)
    for verb in (rebuilding.pause, rebuilding.resume, rebuilding.cancel):
        with pytest.raises(Refused, match="no rebuild is under way"):
            verb(IMAGES)


def test_a_rollback_brings_the_former_collection_back_with_what_changed_since(settings, other_model):
    old = live()
    rebuilding.begin(IMAGES)
    work()
    image = ProductImage.objects.get(product__title="green")
    replace_file(image, (250, 140, 20))
    changes.note(IMAGES, [image.pk])
    Product.objects.filter(title="blue").first().delete()
    work()
    use(settings, COLOUR, MIRROR)
    rebuilding.roll_back(IMAGES)
    assert found()[0] == "red", "the new one answers until the old one has caught up"
    work()
    assert live().name == old.name
    assert found("orange")[0] == "green"
    assert "blue" not in found("blue")
    assert get_embedder().embedded == 1 + 2, "the replaced picture, and two queries"
    assert states() == ["retired", "live"]
    use(settings, MIRROR, COLOUR)
    rebuilding.roll_back(IMAGES)
    work()
    assert live().space == "mirror", "a rollback can be taken back"


def test_a_rollback_without_the_model_or_the_collection_is_refused(settings, other_model):
    with pytest.raises(Refused, match="no earlier collection"):
        rebuilding.roll_back(IMAGES)
    rebuilding.begin(IMAGES)
    work()
    use(settings, MIRROR)
    with pytest.raises(Refused, match="FORMER_EMBEDDER"):
        rebuilding.roll_back(IMAGES)


def test_pruning_drops_what_nothing_uses_and_the_alias_names_the_live_collection(other_model, store):
    old = live()
    new = rebuilding.begin(IMAGES)
    work()
    assert get_vector_store().aliases == {"shopsearch_shopsearch_productimage": new.name}
    forgotten = "shopsearch_shopsearch_productimage_colour_0123abcd_v77"
    others = "shopsearch_shopsearch_productimage_of_another_project"
    for name in (forgotten, others):
        store.ensure_collection(name, serving.schema(old))
    assert rebuilding.prune(IMAGES) == sorted([old.name, forgotten])
    assert store.collections() == sorted([new.name, others])
    assert found()[0] == "red"
    work()
    assert rebuilding.prune(IMAGES) == []


def test_hashes_of_collections_that_are_gone_are_forgotten_when_the_image_is_next_written(other_model):
    rebuilding.begin(IMAGES)
    work()
    rebuilding.prune(IMAGES)
    image = ProductImage.objects.first()
    image.product.price = 3
    image.product.save()
    work()
    assert list(entry(image).held) == [str(live().pk)]
    assert entry(image).held[str(live().pk)][0] == hash_of(image)
