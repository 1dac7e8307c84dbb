"""shopsearch.search.search, over the stand-ins that truly see colour."""

import io

import pytest
from django.core.files.base import ContentFile
from PIL import Image

from shopsearch.backends import get_vector_store
from shopsearch.exceptions import EmptyQuery, FilterError, QueryError
from shopsearch.indexing import batch
from shopsearch.models import ProductImage
from shopsearch.registry import get_index, index_for
from shopsearch.search.engine import search
from tests.shop.models import Artwork, Category, Product
from tests.shop.store import live_name

pytestmark = pytest.mark.django_db

RED, GREEN, BLUE = (220, 30, 30), (30, 160, 60), (40, 60, 210)


def picture(colour, name="picture.png"):
    content = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(content, "PNG")
    return ContentFile(content.getvalue(), name)


def product(title, *colours, **fields):
    made = Product.objects.create(title=title, **fields)
    for colour in colours:
        ProductImage.objects.create(product=made, image=picture(colour))
    return made


def index_everything():
    list(batch.index_pending())


def titles(results):
    return [result.product.title for result in results.results]


@pytest.fixture(autouse=True)
def _an_empty_store(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}


@pytest.fixture
def shop():
    mugs = Category.objects.create(name="mugs")
    product("red mug", RED, category=mugs, price=8)
    product("green mug", GREEN, category=mugs, price=12, in_stock=False, tags=["gift", "tea"])
    product("blue plate", BLUE, price=20, tags=["gift"])
    index_everything()


@pytest.mark.usefixtures("shop")
def test_words_find_the_product_that_looks_like_them():
    assert titles(search("red"))[0] == "red mug"
    assert titles(search("something blue"))[0] == "blue plate"


@pytest.mark.usefixtures("shop")
def test_a_picture_finds_the_product_that_looks_like_it():
    results = search(image=Image.new("RGB", (10, 10), GREEN))
    assert titles(results)[0] == "green mug"
    assert results.query.kind == "image"


@pytest.mark.usefixtures("shop")
def test_words_and_a_picture_together_are_a_composed_query():
    assert search("red", Image.new("RGB", (10, 10), RED)).query.kind == "composed"


@pytest.mark.usefixtures("shop")
def test_results_are_ranked_from_one_with_falling_scores():
    results = search("red").results
    assert [result.rank for result in results] == [1, 2, 3]
    assert [result.score for result in results] == sorted((r.score for r in results), reverse=True)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_a_query_without_words_or_picture_is_refused(text):
    with pytest.raises(EmptyQuery, match="add a picture"):
        search(text)


@pytest.mark.usefixtures("shop")
def test_filters_narrow_the_search():
    assert titles(search("red", filters={"category": "mugs"})) == ["red mug", "green mug"]
    assert titles(search("red", filters={"price__gte": 10, "price__lte": "12"})) == ["green mug"]
    assert set(titles(search("red", filters={"tags": "gift"}))) == {"green mug", "blue plate"}
    assert titles(search("green", filters={"in_stock": "true", "category": ["mugs"]})) == ["red mug"]


@pytest.mark.usefixtures("shop")
def test_an_unknown_filter_is_refused_with_the_names_of_those_that_exist():
    with pytest.raises(FilterError, match="category, in_stock, price, tags"):
        search("red", filters={"colour": "red"})


def test_several_images_of_one_product_are_one_result():
    product("red shoe", *[(220, 30, 30 + shade) for shade in range(8)])
    product("green shoe", GREEN)
    index_everything()
    assert titles(search("red")) == ["red shoe", "green shoe"]


def test_a_product_with_very_many_images_does_not_crowd_out_the_others():
    product("red shoe", *[(220, 30 + shade, 30) for shade in range(30)])
    for number in range(4):
        product(f"blue plate {number}", (40, 60, 200 + number))
    index_everything()
    assert len(titles(search("red", limit=3))) == 3
    assert len(titles(search("red", limit=5))) == 5


def test_pages_follow_one_another_without_gap_or_overlap():
    for number in range(11):
        product(f"shade {number}", (100 + 10 * number, 20, 20))
    index_everything()
    whole = search("red", limit=20)
    first, second, third = (search("red", limit=4, offset=offset) for offset in (0, 4, 8))
    assert titles(first) + titles(second) + titles(third) == titles(whole)
    assert [first.has_next, second.has_next, third.has_next, whole.has_next] == [True, True, False, False]
    assert second.results[0].rank == 5


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("page", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"offset": 1000}])
def test_a_page_out_of_bounds_is_refused(page):
    with pytest.raises(QueryError):
        search("red", **page)


@pytest.mark.usefixtures("shop")
def test_a_product_hidden_a_moment_ago_is_in_no_answer():
    Product.objects.filter(title="red mug").update(published=False)
    assert "red mug" not in titles(search("red"))


@pytest.mark.usefixtures("shop")
def test_a_product_deleted_a_moment_ago_is_in_no_answer():
    Product.objects.filter(title="red mug").delete()
    assert "red mug" not in titles(search("red"))


def test_an_empty_shop_gives_an_empty_answer():
    assert search("red").results == ()


def test_an_index_is_chosen_by_name_and_its_rows_may_be_the_products():
    Artwork.objects.create(code='it\'s "red"', original=picture(RED))
    index_everything()
    results = search("red", index="shop_artwork")
    assert [result.product.pk for result in results.results] == ['it\'s "red"']


def test_an_unknown_index_is_the_callers_mistake():
    with pytest.raises(QueryError, match="shop_artwork"):
        search("red", index="nowhere")


def test_without_a_name_the_product_image_models_index_answers():
    assert get_index().model is ProductImage


@pytest.mark.usefixtures("shop")
def test_an_answer_takes_three_queries_of_the_database(django_assert_num_queries):
    """Which collection answers, the keys of what the shop shows, and the rows of the page."""
    search("green")  # calibrations are read once in a while
    with django_assert_num_queries(3):
        results = search("red")
        assert [result.product.title for result in results.results]


@pytest.mark.usefixtures("shop")
def test_the_collection_is_named_after_index_and_space():
    name = live_name(index_for(ProductImage))
    assert name.startswith("shopsearch_shopsearch_productimage_")
    assert get_vector_store().count(name) == 3
