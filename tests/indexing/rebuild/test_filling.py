"""At any moment a search sees either the complete old collection or the complete new one; nothing is lost."""

from dataclasses import replace

import pytest

from shopsearch import FilterField, tasks
from shopsearch.backends import get_embedder, get_former_embedder, get_vector_store
from shopsearch.exceptions import BackendError, EmbedderError, VectorStoreError
from shopsearch.indexing import batch, rebuild
from shopsearch.models import Collection, IndexEntry, ProductImage, StoredImage
from shopsearch.search.engine import search
from tests.indexing.rebuilds import COLOUR, GREYS, MIRROR, found, in_live, live, states, step, use, work
from tests.shop.models import Product
from tests.shop.pictures import RED, product
from tests.shop.store import IMAGES, due_now, entry, index_everything, replace_file, stored

pytestmark = pytest.mark.django_db


# Another model


def test_while_a_new_models_collection_is_filled_the_old_one_answers_and_then_the_new_one(other_model):
    old = live()
    new = rebuild.begin(IMAGES)
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
    rebuild.begin(IMAGES)
    former, embed = get_former_embedder(), get_former_embedder().embed

    def switched_meanwhile(queries):
        monkeypatch.undo()
        work()
        rebuild.prune(IMAGES)
        return embed(queries)

    monkeypatch.setattr(former, "embed", switched_meanwhile)
    assert found()[0] == "red"
    assert states() == ["live"]


def test_no_picture_is_embedded_twice_in_one_space(other_model):
    rebuild.begin(IMAGES)
    work()
    assert (get_embedder().embedded, get_former_embedder().embedded) == (3 + GREYS, 0)


def test_what_changes_meanwhile_is_written_to_both(other_model):
    rebuild.begin(IMAGES)
    step()
    product((230, 200, 30), title="yellow")
    image = ProductImage.objects.get(product__title="green")
    replace_file(image, (250, 140, 20))
    Product.objects.filter(title="blue").first().delete()
    Product.objects.filter(title="green").update(title="orange")
    old = live()
    index_everything()  # the changes alone: the filling does not go on
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
    rebuild.begin(IMAGES)
    rebuild.pause(IMAGES)
    product((230, 200, 30), title="yellow")
    work()
    assert (get_embedder().embedded, get_former_embedder().embedded) == (1, 1)
    assert StoredImage.objects.filter(entry=IndexEntry.objects.latest("pk")).count() == 2


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
    rebuild.begin(IMAGES)
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
    rebuild.begin(IMAGES)
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
        rebuild.begin(IMAGES)
        work()
        return embed(queries)

    monkeypatch.setattr(get_former_embedder(), "embed", rebuilt_meanwhile)
    batch.index_batch()
    assert states() == ["live", "building"], "it waits for what was under way"
    assert found("yellow")[0] == "yellow"
    work()
    assert states() == ["retired", "live"]
    assert found("yellow")[0] == "yellow"
    assert stored(image).keys() == {collection.pk for collection in Collection.objects.of(IMAGES)}


def test_images_that_nobody_was_told_of_are_in_the_new_collection(shop):
    ProductImage.objects.bulk_create([ProductImage(product=Product.objects.first(), image="missing.png")])
    rebuild.begin(IMAGES)
    work()
    assert entry(ProductImage.objects.latest("pk")).state == "failed"


def test_a_collection_that_lost_something_does_not_answer_until_it_was_found(shop, store):
    old = live()
    new = rebuild.begin(IMAGES)
    step()
    lost = list(store.ids(new.name))
    assert lost
    [entity] = store.fetch(old.name, list(store.ids(old.name))[:1])
    store.delete(new.name, lost)
    store.upsert(new.name, [replace(entity, id="f" * 32, image_id="12345")])
    work()
    assert live() == old
    paused = Collection.objects.of(IMAGES).unfinished().first()
    assert paused.state == "paused"
    assert "entities where" in paused.error
    rebuild.resume(IMAGES)
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
    rebuild.begin(IMAGES)
    for _ in range(batch.MAX_ATTEMPTS):
        work()
        due_now()
    work()
    assert states() == ["live", "paused"]
    assert "no red, please" in Collection.objects.of(IMAGES).unfinished().first().error
    assert found()[0] == "red"
    assert not IndexEntry.objects.exclude(state="indexed").exists()


def test_a_store_that_is_away_while_a_rebuild_is_looked_after_is_one_warning_of_the_task(
    other_model, monkeypatch, caplog
):
    new = rebuild.begin(IMAGES)

    def away(*args):
        raise VectorStoreError("away")

    with monkeypatch.context() as patch:
        for verb in ("count", "collections"):
            patch.setattr(get_vector_store(), verb, away)
        while new.stored.count() < new.total:
            tasks.index()
        caplog.clear()
        tasks.index()
    assert [record.getMessage() for record in caplog.records] == [f"{new.name} waits: away"]
    tasks.index()
    assert live() == new


def test_a_worker_that_is_older_than_the_new_collection_leaves_it_to_others(settings, other_model):
    rebuild.begin(IMAGES)
    use(settings, COLOUR)
    product((230, 200, 30), title="yellow")
    work()
    assert found("yellow")[0] == "yellow"
    assert states() == ["live", "building"]
    use(settings, MIRROR, COLOUR)
    work()
    assert states() == ["retired", "live"]
    assert found("yellow")[0] == "yellow"


def test_a_new_image_that_no_model_can_write_waits(settings, shop, monkeypatch):
    use(settings, MIRROR)
    rebuild.begin(IMAGES)
    image = product((230, 200, 30), title="yellow").images.get()
    IndexEntry.objects.filter(index=IMAGES.name).update(attempts=batch.MAX_ATTEMPTS)

    def stumbling(queries):
        raise RuntimeError("no yellow, please")

    monkeypatch.setattr(get_embedder(), "embed", stumbling)
    for _ in range(batch.MAX_ATTEMPTS + 1):
        due_now()
        batch.index_batch()
    assert entry(image).state == "pending"
