"""Search by words and vectors together, where an index declares words."""

from dataclasses import dataclass, field

import pytest

from shopsearch import calibrations, changes, reranking, serving
from shopsearch.backends import get_embedder, get_vector_store, schema_of
from shopsearch.calibrations import Calibration
from shopsearch.models import Collection, IndexEntry, ProductImage
from shopsearch.rebuilding import begin
from shopsearch.registry import index_for
from shopsearch.retrieval import why_vectors_alone
from shopsearch.search import search
from shopsearch.testing import MemoryStore
from tests.rebuilds import COLOUR, use, work
from tests.shop.models import Category, Product
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import entities, index_everything

pytestmark = pytest.mark.django_db

IMAGES = index_for(ProductImage)


@dataclass(kw_only=True, eq=False)
class CountingStore(MemoryStore):
    """Knows how often it was asked."""

    asked: list[str] = field(default_factory=list, init=False)

    def search(self, *args, **kwargs):
        self.asked.append("vectors")
        return super().search(*args, **kwargs)

    def search_words(self, *args, **kwargs):
        self.asked.append("words")
        return super().search_words(*args, **kwargs)


@pytest.fixture(autouse=True)
def _an_empty_store(settings):
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "VECTOR_STORE": {"BACKEND": "tests.test_hybrid_search.CountingStore"},
    }


@pytest.fixture
def declare(monkeypatch):
    """From now on the index declares these words."""

    def declare(words=("title", "category__name"), identifiers=("title",), language="en"):
        for name, value in {"words": words, "identifiers": identifiers, "language": language}.items():
            monkeypatch.setattr(type(IMAGES), name, value)

    return declare


@pytest.fixture
def shop(declare):
    declare()
    kitchen, garden = (Category.objects.create(name=name) for name in ("kitchenware", "gardening"))
    product(RED, title="Enamel mug Zephyr", category=kitchen, price=8)
    product(GREEN, title="Watering can Zephyr", category=garden, price=12)
    product(BLUE, title="Plate Boreas", category=kitchen, price=20)
    for shade in range(6):
        product((220, 30 + shade, 30), title=f"Scarf {shade}", price=30)
    index_everything()


def index_again():
    """Into the store that a change of the settings has emptied."""
    IndexEntry.objects.all().delete()
    Collection.objects.all().delete()
    changes.note_all(IMAGES)
    index_everything()


def titles(results):
    return [result.product.title for result in results.results]


# What is declared


def test_an_index_that_declares_no_words_has_the_schema_it_always_had_and_is_searched_by_vectors():
    product(RED, title="red mug")
    index_everything()
    assert serving.live(IMAGES).fields == IMAGES.filter_types
    assert schema_of(IMAGES).words == ""
    assert search("red mug").retrieval == "vectors"
    assert get_vector_store().asked == ["vectors"]


@pytest.mark.usefixtures("shop")
def test_words_are_a_field_of_the_collection_that_no_filter_reaches():
    assert serving.live(IMAGES).fields == {**IMAGES.filter_types, "_words_en": "words"}
    assert "_words_en" not in IMAGES.filter_types


def test_the_language_is_the_projects_unless_the_index_says_one(declare, settings):
    settings.LANGUAGE_CODE = "es-mx"
    declare(language="")
    assert IMAGES.words_field == "_words_es"
    declare(language="de")
    assert IMAGES.words_field == "_words"


# What is found


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("query", ["Plate Boreas", "PLATE  boreas", "pláte-boreas"])
def test_what_is_called_so_comes_first_however_it_is_written(query):
    found = search(query)
    assert titles(found)[0] == "Plate Boreas"
    assert found.retrieval == "hybrid"


@pytest.mark.usefixtures("shop")
def test_what_is_called_so_comes_first_though_its_picture_says_otherwise():
    product(GREEN, title="Red")
    index_everything()
    assert titles(search("red", limit=3))[0] == "Red"


@pytest.mark.usefixtures("shop")
def test_words_find_what_the_model_knows_nothing_of():
    assert set(titles(search("zephyr", limit=2))) == {"Enamel mug Zephyr", "Watering can Zephyr"}
    assert titles(search("kitchenware zephyr", limit=1)) == ["Enamel mug Zephyr"]


@pytest.mark.usefixtures("shop")
def test_a_word_that_nothing_has_changes_nothing():
    assert titles(search("red giraffe")) == titles(search("red"))


@pytest.mark.usefixtures("shop")
def test_the_score_is_the_cosine_whatever_found_the_product():
    [wanted] = get_embedder().embed([search("zephyr").query])
    for result in search("zephyr", limit=9).results:
        vector = entities()[str(result.image.pk)].vector
        assert result.score == pytest.approx(float(vector @ wanted), abs=1e-5)


@pytest.mark.usefixtures("shop")
def test_filters_and_visibility_hold_for_what_was_found_by_words_too():
    assert titles(search("zephyr", filters={"price__gte": 10}, limit=1)) == ["Watering can Zephyr"]
    assert "Plate Boreas" not in titles(search("plate boreas", filters={"price__lte": 10}))
    Product.objects.filter(title="Plate Boreas").update(published=False)
    assert "Plate Boreas" not in titles(search("plate boreas"))


def test_words_in_spanish(declare):
    declare(language="es")
    product(RED, title="Taza esmaltada roja")
    product(RED, title="Plato")
    index_everything()
    for query in ("tazas esmaltadas", "TAZA ESMALTADA", "las tazas rojas"):
        assert titles(search(query))[0] == "Taza esmaltada roja"


@pytest.mark.usefixtures("shop")
def test_what_is_called_so_stays_first_no_rerank_is_made(settings):
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "RERANKER": {"BACKEND": "shopsearch.rerankers.joint.JointReranker"},
    }
    index_again()
    assert reranking.order_of(IMAGES, search("plate boreas")) is None
    assert reranking.order_of(IMAGES, search("a plate")) is not None


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
    assert all("boreas" not in entity.fields["_words_en"] for entity in entities().values())


@pytest.mark.usefixtures("shop")
def test_a_related_row_that_changes_changes_the_words():
    category = Category.objects.get(name="kitchenware")
    category.name = "crockery"
    category.save()
    index_everything()
    assert set(titles(search("crockery", limit=2))) == {"Enamel mug Zephyr", "Plate Boreas"}


def test_words_declared_later_wait_for_a_rebuild_and_embed_nothing_again(declare, settings):
    use(settings, embedder=COLOUR)
    product(RED, title="Zephyr")
    product(GREEN, title="Boreas")
    work()
    declare()
    assert not serving.is_current(IMAGES, serving.live(IMAGES))
    assert search("zephyr").retrieval == "vectors"
    assert "--rebuild" in why_vectors_alone(IMAGES, serving.live(IMAGES))
    get_embedder().embedded = 0
    begin(IMAGES)
    work()
    assert get_embedder().embedded == 0
    assert serving.is_current(IMAGES, serving.live(IMAGES))
    found = search("boreas")
    assert (titles(found)[0], found.retrieval) == ("Boreas", "hybrid")


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
def test_one_call_by_vectors_and_one_by_words_and_no_other_query_of_the_database(django_assert_num_queries):
    search("green")
    get_vector_store().asked.clear()
    with django_assert_num_queries(2):
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
    assert [message.id for message in check_indexes(None)] == []
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "THROTTLE_RATE": None,
        "VECTOR_STORE": {"BACKEND": "shopsearch.testing.MemoryStore", "OPTIONS": {"full_text": False}},
    }
    [warning] = check_indexes(None)
    assert (warning.id, warning.obj) == ("shopsearch.W011", ProductImage)
    product(RED, title="red mug")
    index_everything()
    assert serving.live(IMAGES).fields == IMAGES.filter_types
    assert serving.is_current(IMAGES, serving.live(IMAGES))
    assert "no full text" in why_vectors_alone(IMAGES, serving.live(IMAGES))
    assert client.get("/api/search/", {"q": "red mug"}).json()["retrieval"] == "vectors"


@pytest.mark.usefixtures("shop")
def test_the_api_says_which_way_it_found(client):
    assert client.get("/api/search/", {"q": "plate boreas"}).json()["retrieval"] == "hybrid"


# Pages and weak matches


def test_pages_are_parts_of_one_order_however_many_images_a_product_has(declare):
    declare()
    product(*[(220, 30 + shade % 100, shade // 100) for shade in range(130)], title="Red Zephyr mug")
    for number in range(20):
        product((200 - number, 40, 40), title=f"Zephyr {number}" if number % 3 else f"Boreas {number}")
    index_everything()
    whole = titles(search("red zephyr", limit=30))
    assert len(whole) == len(set(whole)) == 21
    for size in (2, 7):
        pages = [search("red zephyr", limit=size, offset=offset) for offset in range(0, 30, size)]
        assert [title for page in pages for title in titles(page)] == whole


@pytest.mark.usefixtures("shop")
def test_what_is_called_so_is_no_weak_match_however_little_the_picture_says():
    calibrations.save(
        [
            Calibration(
                index=IMAGES.name,
                space=get_embedder().space,
                kind="text",
                threshold=0.9,
                weight=0.0,
                typical=[0.1] * get_embedder().dimension,
                pairs=100,
            )
        ]
    )
    assert search("plate boreas").match == "good"
    assert search("something of the sort").match == "weak"
    assert {search("red", limit=1, offset=offset).match for offset in range(9)} == {search("red").match}
