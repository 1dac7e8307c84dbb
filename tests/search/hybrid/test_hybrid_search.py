"""Search by words and vectors together, where an index declares words."""

import pytest
from PIL import Image

from shopsearch.backends import get_embedder, get_vector_store, schema_of
from shopsearch.indexing import vocabulary
from shopsearch.models import Change, Collection, IndexEntry, ProductImage, Synonym
from shopsearch.models.evaluation import Calibration
from shopsearch.registry import index_for
from shopsearch.rerankers import Reranker
from shopsearch.search import calibration, reranking, retrieval, spelling, synonyms
from shopsearch.search.engine import search
from shopsearch.types import RerankerOutput
from tests.shop.models import Product
from tests.shop.pictures import GREEN, RED, product
from tests.shop.store import entities, index_everything

pytestmark = pytest.mark.django_db

IMAGES = index_for(ProductImage)


def index_again():
    """Into the store that a change of the settings has emptied."""
    IndexEntry.objects.all().delete()
    Collection.objects.all().delete()
    Change.objects.note_all(IMAGES)
    index_everything()


def titles(results):
    return [result.product.title for result in results.results]


# What is declared


def test_an_index_that_declares_no_words_has_the_schema_it_always_had_and_is_searched_by_vectors():
    product(RED, title="red mug")
    index_everything()
    assert Collection.objects.of(IMAGES).live().first().fields == IMAGES.filter_types
    assert schema_of(IMAGES).words == ""
    assert search("red mug").retrieval == "vectors"
    assert get_vector_store().asked == ["vectors"]


@pytest.mark.usefixtures("shop")
def test_words_are_a_field_of_the_collection_that_no_filter_reaches():
    assert Collection.objects.of(IMAGES).live().first().fields == {
        **IMAGES.filter_types,
        "_words_2_en": "words",
    }
    assert "_words_2_en" not in IMAGES.filter_types


def test_the_language_is_the_projects_unless_the_index_says_one(declare, settings):
    settings.LANGUAGE_CODE = "es-mx"
    declare(language="")
    assert IMAGES.words_field == "_words_2_es"
    declare(language="ja")
    assert IMAGES.words_field == "_words_2"


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
    calibration.save(
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
    assert search("kitchenware zephyr").match == "good"
    assert search("kitchenware volcano").match == "weak"
    assert {search("red", limit=1, offset=offset).match for offset in range(9)} == {search("red").match}


# How well it was found


@pytest.fixture
def _every_picture_is_a_weak_match():
    space = get_embedder().space
    typical = [0.0] * get_embedder().dimension
    calibration.save(
        [
            Calibration(
                index=IMAGES.name, space=space, kind=kind, threshold=1, weight=0, typical=typical, pairs=9
            )
            for kind in ("text", "composed")
        ]
    )


@pytest.mark.usefixtures("shop", "_every_picture_is_a_weak_match")
def test_a_product_that_has_all_the_words_is_a_good_match_whatever_its_picture_looks_like():
    assert search("zephyr").match == "good"
    assert sorted(titles(search("zephyr"))) == ["Enamel mug Zephyr", "Watering can Zephyr"]
    assert titles(search("mug by zephyr")) == ["Enamel mug Zephyr"]
    assert search("zephyr lamp").match == "weak", "one of the words is no match by itself"


@pytest.mark.usefixtures("shop", "_every_picture_is_a_weak_match")
def test_most_of_the_rare_words_are_a_good_match_too():
    for number in range(12):
        product(RED, title=f"Scarf of wool, {number}")
    index_everything()
    vocabulary.recount(IMAGES)
    spelling.forget()
    assert titles(search("cheap zephyr watering can")) == ["Watering can Zephyr"]
    assert search("cheap wool scarf").match == "weak", "in this shop these words are not rare"
    assert search("zephyr").match == "good"


@pytest.mark.usefixtures("shop", "_every_picture_is_a_weak_match")
def test_products_that_have_all_the_words_are_found_beyond_those_that_are_fused(monkeypatch):
    monkeypatch.setattr(retrieval, "FUSED_HITS", 1)
    monkeypatch.setattr(retrieval, "MAX_FUSED_HITS", 1)
    assert sorted(titles(search("scarf"))) == [f"Scarf {number}" for number in range(6)]
    pages = [titles(search("scarf", limit=2, offset=offset)) for offset in (0, 2, 4, 6)]
    assert [title for page in pages for title in page] == titles(search("scarf"))
    assert sorted(titles(search("mug by zephyr"))) == ["Enamel mug Zephyr"]


class FromTheBack(Reranker):
    model = "from the back"

    def rerank(self, query, candidates):
        return RerankerOutput(labels=list(range(len(candidates), 0, -1)))


@pytest.mark.usefixtures("shop")
def test_a_better_order_puts_what_has_none_of_the_words_before_nothing_that_has_them_all(settings):
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "RERANKER": {"BACKEND": f"{__name__}.FromTheBack"},
        "RERANK_WEIGHT": 1,
        "RERANK_LIFT": 9,
    }
    index_again()
    found = search("zephyr")
    order = reranking.order_of(IMAGES, found).positions
    names = [titles(found)[place] for place in order]
    assert sorted(order) == list(range(9))
    assert set(names[:2]) == {"Enamel mug Zephyr", "Watering can Zephyr"}
    assert names[:2] == titles(found)[1::-1], "among themselves they follow the reranker"
    Synonym.objects.create(words="westwind", meanings="zephyr")
    synonyms.forget()
    meant = search("westwind")
    order = reranking.order_of(IMAGES, meant).positions
    assert {titles(meant)[place] for place in order[:2]} == set(names[:2]), (
        "what the words mean counts as well"
    )
    synonyms.forget()
    picture = search("zephyr", Image.new("RGB", (8, 8), "red"))
    assert reranking.order_of(IMAGES, picture).positions == tuple(range(8, -1, -1)), "beside a picture"
