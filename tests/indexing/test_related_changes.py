"""Related changes: what an index reads beyond the product is followed, and no picture is embedded again for it."""

import pytest
from django.core.checks import run_checks
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from shopsearch import ImageIndex, paused
from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import batch as indexing
from shopsearch.indexing import outbox, progress, receivers
from shopsearch.models import Change, IndexEntry, ProductImage, RelatedChange
from shopsearch.registry import index_for
from shopsearch.registry.relations import relations_of
from shopsearch.search.engine import search
from tests.shop.models import (
    Artist,
    Category,
    Country,
    Edition,
    Hanging,
    Label,
    Poster,
    PosterImage,
    Product,
)
from tests.shop.pictures import GREEN, RED, picture, product

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_store():
    get_vector_store().clear()
    yield
    get_vector_store().clear()


def poster(**fields):
    made = Poster.objects.create(title="sea", **fields)
    PosterImage.objects.create(product=made, image=picture())
    return made


def noted(act):
    """The products whose images workers look at after what is done."""
    forget()
    act()
    while outbox.fold():
        pass
    images = PosterImage.objects.in_bulk(list(IndexEntry.objects.values_list("image_id", flat=True)))
    return {image.product for image in images.values()}


def forget():
    for model in (IndexEntry, Change, RelatedChange):
        model.objects.all().delete()


def found(**filters):
    return [
        result.product for result in search("red", index="shopsearch_productimage", filters=filters).results
    ]


# What comes of it


def test_a_renamed_category_is_searchable_by_its_new_name_and_nothing_is_embedded():
    mugs, cups = Category.objects.create(name="mugs"), Category.objects.create(name="cups")
    mug, _ = product(RED, GREEN, category=mugs), product(RED, category=cups)
    list(indexing.index_pending())
    embedded = get_embedder().embedded
    mugs.name = "large mugs"
    mugs.save()
    batches = list(indexing.index_pending())
    assert sum(batch.claimed for batch in batches) == sum(batch.updated for batch in batches) == 2
    assert get_embedder().embedded == embedded
    assert found(category=["large mugs"]) == [mug]
    assert found(category=["mugs"]) == []


def test_a_price_a_stock_and_a_category_follow_the_product_and_nothing_is_embedded():
    mug = product(RED, price=5, in_stock=True)
    list(indexing.index_pending())
    embedded = get_embedder().embedded
    mug.price, mug.in_stock, mug.category = 7, False, Category.objects.create(name="mugs")
    mug.save()
    list(indexing.index_pending())
    assert get_embedder().embedded == embedded
    assert found(price__gte=6, in_stock=False, category=["mugs"]) == [mug]


# Which images are noted


def test_a_row_that_a_filter_reads_through_foreign_keys_is_followed_at_each_step():
    spain = Country.objects.create(name="Spain")
    goya = Artist.objects.create(name="Goya", country=spain)
    by_goya, _ = poster(artist=goya), poster(artist=Artist.objects.create(name="Dix"))
    assert noted(goya.save) == {by_goya}
    assert noted(spain.save) == {by_goya}


def test_a_field_that_no_filter_reads_may_be_updated_without_a_change():
    spain = Country.objects.create(name="Spain")
    dutch = poster(artist=Artist.objects.create(name="Goya", country=spain))
    relation = {each.lookup: each for each in relations_of(index_for(PosterImage))}[
        "product__artist__country"
    ]
    assert relation.attributes == {"name"}
    artist = dutch.artist
    assert noted(lambda: artist.save(update_fields=["country"])) == {dutch}
    assert noted(lambda: artist.save(update_fields=["name"])) == {dutch}
    assert noted(lambda: spain.save(update_fields=["visits"])) == set()


def test_a_related_row_that_is_deleted_is_noted_before_nobody_knows_whose_it_was():
    goya = Artist.objects.create(name="Goya")
    by_goya, _ = poster(artist=goya), poster()
    assert noted(goya.delete) == {by_goya}


def test_the_far_ends_of_foreign_keys_are_followed_also_to_where_they_go():
    first, second, _ = poster(), poster(), poster()
    made = []
    assert noted(lambda: made.append(Edition.objects.create(poster=first))) == {first}
    [edition] = made
    edition.poster = second
    assert noted(edition.save) == {first, second}
    assert noted(edition.delete) == {second}


@pytest.mark.parametrize("how", ["add", "set", "remove", "clear"])
@pytest.mark.parametrize("end", ["poster", "label"])
def test_what_is_added_to_a_product_or_taken_from_it_is_followed_from_both_ends(how, end):
    changed, _ = poster(), poster()
    sale, other = Label.objects.create(name="sale"), Label.objects.create(name="other")
    changed.labels.add(other)
    if how in ("remove", "clear"):
        changed.labels.add(sale)
    manager, row = (changed.labels, sale) if end == "poster" else (sale.posters, changed)
    arguments = {"add": [row], "set": [[row]], "remove": [row], "clear": []}[how]
    assert noted(lambda: getattr(manager, how)(*arguments)) == {changed}


def test_a_label_that_is_renamed_or_deleted_is_followed():
    labelled, _ = poster(), poster()
    sale = labelled.labels.create(name="sale")
    sale.name = "summer sale"
    assert noted(sale.save) == {labelled}
    assert noted(sale.delete) == {labelled}


def test_a_relation_with_a_model_of_its_own_is_followed():
    spain = Country.objects.create(name="Spain")
    hung, _ = poster(), poster()
    assert noted(lambda: hung.rooms.add(spain)) == {hung}
    assert noted(spain.save) == {hung}
    hanging = Hanging.objects.get()
    assert noted(hanging.save) == {hung}
    assert noted(hanging.delete) == {hung}
    assert noted(lambda: Hanging.objects.create(poster=hung, country=spain)) == {hung}


def test_an_image_that_is_found_over_several_rows_is_noted_once():
    hung = poster()
    spain = Country.objects.create(name="Spain")
    for _ in range(3):
        Hanging.objects.create(poster=hung, country=spain)
    forget()
    spain.save()
    assert [len(change.images()) for change in RelatedChange.objects.filter(lookup="product__rooms")] == [1]


# Very many images


@pytest.fixture
def mugs():
    """A category of five images, and nothing noted."""
    made = Category.objects.create(name="mugs")
    product(*[RED] * 5, category=made)
    forget()
    return made


def rows(queryset):
    return sorted(int(image_id) for image_id in queryset.values_list("image_id", flat=True))


def test_a_save_writes_one_row_and_reads_none_however_many_images_there_are(mugs):
    with CaptureQueriesContext(connection) as captured:
        mugs.save()
    statements = [query["sql"].split(" (")[0] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert [sql for sql in statements if not sql.startswith(("BEGIN", 'UPDATE "shop_category"'))] == [
        'INSERT INTO "shopsearch_relatedchange"'
    ]


def test_a_rollback_leaves_nothing(mugs):
    with transaction.atomic():
        mugs.save()
        transaction.set_rollback(True)
    assert not RelatedChange.objects.exists()


def test_its_images_are_folded_in_slices_and_a_worker_that_dies_loses_none(mugs, monkeypatch):
    images = rows(ProductImage.objects.annotate(image_id=F("pk")))
    mugs.save()
    assert outbox.fold(2) == 2
    assert rows(IndexEntry.objects) == images[:2]

    def killed(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    write = outbox._write
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            outbox.fold(2)
    assert rows(IndexEntry.objects) == images[:2], "the slice of the worker that died is rolled back"
    assert [outbox.fold(2), outbox.fold(2), outbox.fold(2)] == [2, 1, 0]
    assert rows(IndexEntry.objects) == images
    assert not RelatedChange.objects.exists()


def test_changes_of_images_do_not_wait_for_it(mugs):
    mugs.save()
    [shoe] = product(RED).images.all()
    outbox.fold(1)
    assert str(shoe.pk) in IndexEntry.objects.values_list("image_id", flat=True)
    assert RelatedChange.objects.exists()


def test_an_image_that_is_deleted_meanwhile_is_not_brought_back(mugs):
    mugs.save()
    outbox.fold(2)
    kept, *gone = ProductImage.objects.order_by("pk")
    for image in gone:
        image.delete()
    while outbox.fold(2):
        pass
    states = dict(IndexEntry.objects.values_list("image_id", "state"))
    assert states.pop(str(kept.pk)) == "pending"
    assert set(states.values()) == {"deleting"}


def test_an_image_that_comes_or_goes_meanwhile_notes_itself(mugs):
    mugs.save()
    outbox.fold(3)
    [moved] = product(RED).images.all()
    moved.product = Product.objects.get(category=mugs)
    moved.save()
    assert Change.objects.filter(image_id=moved.pk).exists()


def test_a_row_that_is_saved_again_and_again_is_read_once_and_comes_to_its_end(mugs):
    for _ in range(3):
        mugs.save()
    assert outbox.fold(3) == 3
    assert RelatedChange.objects.count() == 1, "the first stands for those that nobody has begun"
    for _ in range(2):
        mugs.save()
    assert [outbox.fold(2), outbox.fold(), outbox.fold()] == [2, 5, 0]


def test_an_entry_that_is_removed_while_a_slice_is_written_is_made_again(mugs, monkeypatch):
    mugs.save()

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_write", lambda *arguments: set())
        assert outbox.fold() == 5
    assert not RelatedChange.objects.exists()
    assert outbox.fold() == 5
    assert IndexEntry.objects.count() == 5


def test_a_lookup_of_another_release_has_every_image_looked_at(mugs):
    product(RED)
    forget()
    for lookup, row_id in (("product__department", mugs.pk), ("product__category", "no number")):
        RelatedChange.objects.note(index_for(ProductImage), lookup, [row_id], "default")
        assert outbox.fold() == 6
    assert not RelatedChange.objects.exists()


def test_while_paused_it_waits_for_the_end_of_the_pause(mugs):
    with paused():
        mugs.save()
        assert outbox.fold() == 0
    assert outbox.fold() == 5


def test_meanwhile_its_images_are_said_to_wait_and_are_not_compared(mugs):
    index = index_for(ProductImage)
    image_ids = {str(pk) for pk in ProductImage.objects.values_list("pk", flat=True)}
    product(RED)
    forget()
    assert not outbox.has_due()
    mugs.save()
    assert outbox.has_due(beyond=1_000)
    everything = [str(pk) for pk in ProductImage.objects.values_list("pk", flat=True)]
    assert Change.objects.noted_among(index, everything) == image_ids
    assert progress.counts()[index.name]["pending"] == 1, "as one, until its images are known"
    assert index.name in progress.waiting_since()


# The declaration


def test_what_a_declaration_does_not_name_as_a_relation_is_left_out():
    class Index(ImageIndex):
        filters = {"title": str, "category": str, "nothing": str}
        related = ("category__no_such_field", "images")

    relations = {each.lookup: each.attributes for each in relations_of(Index(ProductImage))}
    assert relations == {"product__category": None, "product__images": None}


def test_connecting_twice_follows_once():
    receivers.connect()
    mugs = Category.objects.create(name="mugs")
    product(RED, category=mugs)
    forget()
    mugs.save()
    assert (Change.objects.count(), RelatedChange.objects.count()) == (0, 1)
    assert Product.objects.count() == 1


def test_E004_a_relation_that_cannot_be_followed(monkeypatch):
    def problems():
        return [each.msg for each in run_checks(tags=["shopsearch"]) if each.id == "shopsearch.E004"]

    index_class = type(index_for(PosterImage))
    monkeypatch.setattr(index_class, "related", ("artist__country", "editions", "rooms"))
    assert problems() == []
    monkeypatch.setattr(index_class, "related", ("artist__name",))
    assert "shop.Artist has no relation 'name' to follow" in problems()[0]
