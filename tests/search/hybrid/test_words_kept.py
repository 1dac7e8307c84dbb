"""What an index that declares words keeps of them, and what searching by them costs."""

import pytest

from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import collections
from shopsearch.indexing.rebuild import begin
from shopsearch.models import Collection, ProductImage
from shopsearch.registry import analyzer, index_for
from shopsearch.search import synonyms
from shopsearch.search.engine import search
from shopsearch.search.retrieval import why_vectors_alone
from tests.indexing.rebuilds import COLOUR, use, work
from tests.shop.models import Category, Product
from tests.shop.pictures import GREEN, RED, product
from tests.shop.store import entities, index_everything

pytestmark = pytest.mark.django_db

IMAGES = index_for(ProductImage)


def titles(results):
    return [result.product.title for result in results.results]


# What changes


@pytest.mark.usefixtures("shop")
def test_a_new_title_is_found_and_nothing_is_embedded_again():
    get_embedder().embedded = 0
    changed = Product.objects.get(title="Plate Boreas")
    changed.title = "Plate Notus"
    changed.save()
    index_everything()
    assert get_embedder().embedded == 0
    assert titles(search("plate notus"))[0] == "Plate Notus"
    assert all("boreas" not in entity.fields["_words_2_en"] for entity in entities().values())


@pytest.mark.usefixtures("shop")
def test_a_related_row_that_changes_changes_the_words():
    category = Category.objects.get(name="kitchenware")
    category.name = "crockery"
    category.save()
    index_everything()
    assert set(titles(search("crockery", limit=2))) == {"Enamel mug Zephyr", "Plate Boreas"}


def assert_a_rebuild_brings_the_words(word):
    """Until then vectors alone answer, and the reason names the rebuild, which embeds nothing."""
    assert not collections.is_current(IMAGES, Collection.objects.of(IMAGES).live().first())
    assert search(word).retrieval == "vectors"
    assert "--rebuild" in why_vectors_alone(IMAGES, Collection.objects.of(IMAGES).live().first())
    get_embedder().embedded = 0
    begin(IMAGES)
    work()
    assert get_embedder().embedded == 0
    assert collections.is_current(IMAGES, Collection.objects.of(IMAGES).live().first())


def test_words_declared_later_wait_for_a_rebuild_and_embed_nothing_again(declare, settings):
    use(settings, embedder=COLOUR)
    product(RED, title="Zephyr")
    product(GREEN, title="Boreas")
    work()
    declare()
    assert_a_rebuild_brings_the_words("zephyr")
    found = search("boreas")
    assert (titles(found)[0], found.retrieval) == ("Boreas", "hybrid")


def test_words_of_another_analyzer_are_found_by_no_query_until_a_rebuild_which_embeds_nothing(
    declare, settings, monkeypatch
):
    """As after an upgrade that brings other stems."""
    declare()
    use(settings, embedder=COLOUR)
    product(RED, title="Zephyr")
    with monkeypatch.context() as before:
        before.setattr(analyzer, "version_of", lambda languages: f"{languages[0]}_0_9")
        work()
        assert search("zephyr").retrieval == "hybrid"
    product(GREEN, title="Boreas")
    work()
    assert_a_rebuild_brings_the_words("boreas")
    assert {*next(iter(entities().values())).fields} >= {"_words_2_en"}
    assert [titles(search(name))[0] for name in ("zephyr", "boreas")] == ["Zephyr", "Boreas"]


# What it costs


@pytest.mark.usefixtures("shop")
def test_a_picture_alone_and_a_picture_with_words_ask_for_no_words(settings):
    from PIL import Image

    seen = Image.new("RGB", (16, 16), RED)
    get_vector_store().asked.clear()
    assert search(image=seen).retrieval == "vectors"
    assert search("mug like this", seen).retrieval == "vectors"
    assert get_vector_store().asked == ["vectors", "vectors"]


def test_words_of_a_composed_query_count_where_a_setting_says_so(declare, settings):
    from PIL import Image

    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "COMPOSED_WORDS_WEIGHT": 1.0}
    declare()
    product(RED, title="Plate")
    product((200, 40, 60), title="Zephyr mug of enamel")
    index_everything()
    seen = Image.new("RGB", (16, 16), RED)
    found = search("zephyr mug", seen)
    assert (titles(found)[0], found.retrieval) == ("Zephyr mug of enamel", "hybrid")


@pytest.mark.usefixtures("shop")
def test_one_call_by_vectors_and_one_by_words_and_no_other_query_of_the_database(
    django_assert_num_queries, monkeypatch
):
    monkeypatch.setattr(synonyms, "KEPT_SECONDS", 600)
    search("green")
    get_vector_store().asked.clear()
    with django_assert_num_queries(3):
        search("enamel mug zephyr", limit=3)
    assert get_vector_store().asked == ["vectors", "words"]


@pytest.mark.usefixtures("shop")
def test_a_weight_of_zero_switches_words_off(settings):
    store = get_vector_store()
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "WORDS_WEIGHT": 0}
    get_vector_store()._collections.update(store._collections)
    assert search("plate boreas").retrieval == "vectors"
    assert get_vector_store().asked == ["vectors"]


def test_a_store_without_full_text_answers_by_vectors_and_check_says_so(declare, settings, client):
    from shopsearch.checks.indexes import check_indexes

    declare()
    assert [message.id for message in check_indexes()] == []
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "THROTTLE_RATE": None,
        "VECTOR_STORE": {"BACKEND": "shopsearch.testing.MemoryStore", "OPTIONS": {"full_text": False}},
    }
    [warning] = check_indexes()
    assert (warning.id, warning.obj) == ("shopsearch.W011", ProductImage)
    product(RED, title="red mug")
    index_everything()
    assert Collection.objects.of(IMAGES).live().first().fields == IMAGES.filter_types
    assert collections.is_current(IMAGES, Collection.objects.of(IMAGES).live().first())
    assert "no full text" in why_vectors_alone(IMAGES, Collection.objects.of(IMAGES).live().first())
    assert client.get("/api/search/", {"q": "red mug"}).json()["retrieval"] == "vectors"


@pytest.mark.usefixtures("shop")
def test_the_api_says_which_way_it_found(client):
    assert client.get("/api/search/", {"q": "plate boreas"}).json()["retrieval"] == "hybrid"
