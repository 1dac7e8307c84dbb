"""What a shop's own tests say about its search, and what they are told when it is not so."""

import io
import re
import sys
import textwrap
import types
import unittest

import pytest
from django.core.files.base import ContentFile
from PIL import Image

from shopsearch.backends import get_vector_store
from shopsearch.models import ProductImage
from shopsearch.registry import index_for
from shopsearch.search.engine import search
from shopsearch.testing import SETTINGS, MemoryStore, SearchTestCase, assert_finds, picture, stand_ins
from tests import ROOT
from tests.shop.models import Artwork, Product

HOW_TO = ROOT / "docs/how-to.md"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_services():
    with stand_ins():
        yield


def product(title, *colours, **fields):
    made = Product.objects.create(title=title, **fields)
    for colour in colours:
        ProductImage.objects.create(product=made, image=picture(colour))
    return made


@pytest.fixture
def red():
    return product("red mug", "red", price=8)


@pytest.fixture
def blue():
    return product("blue mug", "blue", price=12)


def test_words_find_what_the_test_saved_without_a_worker(red, blue):
    assert assert_finds("red mug", red).rank == 1
    assert assert_finds("taza azul", blue).product == blue


def test_a_picture_finds_what_looks_like_it_in_whatever_form_it_comes(red, blue, tmp_path):
    image = Image.new("RGB", (20, 20), "red")
    content = picture("red").read()
    path = tmp_path / "query.png"
    path.write_bytes(content)
    for query in (
        image,
        content,
        path,
        ContentFile(content, "query.png"),
        io.BytesIO(content),
        red.images.get().image,
    ):
        assert_finds(query, red)
    assert_finds(picture("blue"), blue)


def test_words_and_a_picture_together_are_a_pair(red, blue):
    assert assert_finds(("blue", picture("blue")), blue).rank == 1
    with pytest.raises(AssertionError, match="“blue” with the picture does not find red mug first"):
        assert_finds(("blue", picture("blue")), red)


def test_within_says_how_far_down_it_may_be(red, blue):
    assert assert_finds("red", blue, within=2).rank == 2


def test_filters_are_those_of_the_search(red, blue):
    assert_finds("red", blue, filters={"price__gte": 10})


def test_an_index_is_chosen_by_name():
    artwork = Artwork.objects.create(code="sunset", original=picture("orange"))
    assert_finds("orange", artwork, index="shop_artwork")


def test_a_failure_shows_what_was_found_instead_with_scores_and_where_the_product_was(red, blue):
    for number in range(6):
        product(f"scarlet thing {number}", (230, 20, 20 + number))
    with pytest.raises(AssertionError) as failure:
        assert_finds("red", blue)
    first, *lines = str(failure.value).splitlines()
    found = search("red", limit=20).results
    assert (
        first == f"“red” does not find blue mug first: it is number 8, with a score of {found[7].score:.3f}."
    )
    assert len(lines) == 6
    assert lines[0] == f"    1  {found[0].score:6.3f}  {found[0].product.title}"
    assert lines[-1] == f">   8  {found[7].score:6.3f}  blue mug"


def test_a_failure_says_why_the_product_is_in_no_answer(red):
    bare = product("bare thing")
    hidden = product("hidden thing", "red", published=False)
    cheap = product("cheap thing", "red", price=1)
    broken = product("broken thing")
    ProductImage.objects.create(product=broken, image=ContentFile(b"no picture", "broken.png"))
    for thing, reason in (
        (bare, "it has no image in the index shopsearch_productimage."),
        (hidden, "ProductImageIndex.get_queryset() leaves it out."),
        (cheap, "do the filters leave it out?"),
        (broken, "is not indexed."),
    ):
        with pytest.raises(AssertionError, match=re.escape(reason)):
            assert_finds("red", thing, filters={"price__gte": 5})
    with pytest.raises(AssertionError, match="nothing was found"):
        assert_finds("red", cheap, filters={"price__gte": 1000})


def test_what_is_no_query_is_said_to_be_none(red):
    with pytest.raises(TypeError, match="use words, a path"):
        assert_finds(7, red)


def test_a_store_that_is_not_in_memory_is_searched_but_never_written_to(red, monkeypatch):
    assert_finds("red", red)
    crimson = product("crimson mug", "crimson")
    monkeypatch.setattr("shopsearch.testing.MemoryStore", type("Another", (), {}))
    with pytest.raises(AssertionError, match="crimson mug"):
        assert_finds("red", crimson, within=10)


def test_the_stand_ins_leave_nothing_behind_and_the_rest_of_the_settings_alone(settings, red):
    assert_finds("red", red)
    settings.SHOPSEARCH = {"PAGE_SIZE": 7, "EMBEDDER": {"BACKEND": "nowhere"}}
    with stand_ins():
        assert settings.SHOPSEARCH == {"PAGE_SIZE": 7, **SETTINGS}
        assert isinstance(get_vector_store(), MemoryStore)
        assert get_vector_store().collections() == []
    assert settings.SHOPSEARCH["EMBEDDER"] == {"BACKEND": "nowhere"}


def test_what_the_how_to_shows_passes(monkeypatch):
    """Its shop is ours under other names."""
    models = types.ModuleType("yourshop.models")
    models.Product, models.ProductImage = Product, ProductImage
    monkeypatch.setitem(sys.modules, "yourshop", types.ModuleType("yourshop"))
    monkeypatch.setitem(sys.modules, "yourshop.models", models)
    section = HOW_TO.read_text().split("## Test your shop's search")[1].split("\n## ")[0]
    blocks = [textwrap.dedent(each) for each in re.findall(r"```python\n(.*?)```", section, re.DOTALL)]
    [source] = [block for block in blocks if "SearchTestCase" in block]
    names = {"__name__": "how_to"}
    exec(compile(source, str(HOW_TO), "exec"), names)
    [case] = [each for each in names.values() if isinstance(each, type) and issubclass(each, SearchTestCase)
              and each is not SearchTestCase]  # fmt: skip
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.testsRun >= 2
    assert not [*result.failures, *result.errors], result
    assert index_for(ProductImage)
