"""Suggestions while a shopper types: what is found by the beginning of a word, in which order, and what never is."""

import datetime

import pytest
from django.core.cache import cache
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as hypothesis_settings

from shopsearch.backends import get_vector_store
from shopsearch.exceptions import EmptyQuery, QueryError
from shopsearch.indexing import vocabulary
from shopsearch.models import EvaluationQuery, ProductImage, Suggestion, VocabularyWord
from shopsearch.registry import analyzer, index_for
from shopsearch.search import spelling, suggestions
from shopsearch.search.suggestions import suggest
from tests.shop.models import Category, Product
from tests.shop.pictures import GREEN, product
from tests.shop.store import index_everything

IMAGES = index_for(ProductImage)
API = "/api/suggest/"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _read_anew():
    spelling.forget()
    suggestions.forget()


@pytest.fixture
def sell(declare):
    """Products of these titles, indexed."""
    declare()

    def sell(*titles, **values):
        made = [product(GREEN, title=title, **values) for title in titles]
        index_everything()
        spelling.forget()
        return made

    return sell


def titles(text, **options):
    return [image.product.title for image in suggest(text, **options).images]


def completions(text, **options):
    return [each.text for each in suggest(text, **options).completions]


@pytest.mark.parametrize(
    ("typed", "title"),
    [
        ("re", "Red striped mug"),
        ("STRI", "Red striped mug"),
        ("mug", "Red striped mug"),
        ("red mu", "Red striped mug"),
        ("mug red", "Red striped mug"),
        ("tele", "Teléfono móvil"),
        ("Teléf", "Teléfono móvil"),
        ("mulle", "Müller bowl"),
        ("muelle", "Müller bowl"),
        ("müll", "Müller bowl"),
        ("ab-12", "AB-12/3"),
        ("ab12", "AB-12/3"),
        ("マグ", "赤いマグ"),
        ("red  ", "Red striped mug"),
    ],
)
def test_a_product_is_found_by_the_beginning_of_any_of_its_words(sell, typed, title):
    sell("Red striped mug", "Teléfono móvil", "Müller bowl", "AB-12/3", "赤いマグ")
    assert titles(typed) == [title]


def test_a_part_of_a_sku_completes_nothing_until_a_product_says_it(declare):
    declare(words=("category__name",), identifiers=("title", "category__pk", "tags"))
    mugs = Category.objects.create(name="leopard mugs")
    product(GREEN, title="Spotted", category=mugs, tags=["LEO-PHO-012"])
    index_everything()
    spelling.forget()
    assert completions("leo") == ["leopard"]
    assert completions("pho") == completions("leo ph") == []
    assert completions("spot") == ["spotted"]  # a title is said
    assert spelling.spelling_of(IMAGES, "en").nearest("phop") == ""  # nor is it what was meant
    product(GREEN, title="Photo frame", category=mugs)
    Category.objects.create(name="x")
    index_everything()
    vocabulary.recount(IMAGES)
    spelling.forget()
    assert completions("pho") == ["photo"]
    assert titles("leo-pho") == ["Spotted"]
    assert VocabularyWord.objects.get(word="pho").count == 0


@pytest.mark.parametrize("typed", ["ed", "tripe", "mug blue", "%%", "__", "||", "%mug_blue"])
def test_a_product_is_not_found_by_the_middle_of_a_word_nor_by_signs(sell, typed):
    sell("Red striped mug")
    assert titles(typed) == []


def test_whole_titles_come_first_then_whole_words_then_frequent_ones_then_short_titles(sell):
    sell("Mugwort tea", "Blue mug", "Mug", "Mug of tin", "Mug of enamel")
    assert titles("mug") == ["Mug", "Mug of tin", "Mug of enamel", "Blue mug"]
    assert titles("te") == ["Mugwort tea"]


def test_what_the_shop_hid_a_second_ago_is_not_suggested_nor_what_is_deleted(sell):
    hidden, deleted, _ = sell("Red mug", "Red bowl", "Red plate")
    Product.objects.filter(pk=hidden.pk).update(published=False)
    Product.objects.filter(pk=deleted.pk).delete()
    assert titles("red") == ["Red plate"]


def test_hidden_products_take_no_places_from_those_that_are_shown(sell):
    sell(*(f"Red mug {number:02}" for number in range(40)), "Red mug of the last page")
    Product.objects.exclude(title__contains="last").update(published=False)
    assert titles("red m") == ["Red mug of the last page"]


def test_it_follows_titles_and_is_counted_anew_without_what_is_gone(sell):
    kept, gone = sell("Red mug", "Blue bowl", category=Category.objects.create(name="kitchenware"))
    Product.objects.filter(pk=gone.pk).delete()
    kept.title = "Green plate"
    kept.save()
    index_everything()
    assert (titles("red"), titles("gree")) == ([], ["Green plate"])
    vocabulary.recount(IMAGES)
    assert set(Suggestion.objects.products().values_list("start", flat=True)) == {
        "green plate",
        "plate | green",
    }
    [kitchen] = suggest("kitch").categories
    assert (kitchen.filter, kitchen.value, kitchen.filter_label, kitchen.count) == (
        "category",
        "kitchenware",
        "Category",
        1,
    )
    before = list(Suggestion.objects.order_by("pk").values())
    vocabulary.recount(IMAGES)
    assert list(Suggestion.objects.order_by("pk").values()) == before  # nothing was written


def test_a_value_that_a_worker_adds_while_values_are_counted_has_its_count(sell, monkeypatch):
    sell("Red mug", "Blue mug", category=Category.objects.create(name="kitchenware"))
    Suggestion.objects.all().delete()
    counting = vocabulary._rows_of

    def adding(index, counts, labels):
        rows = counting(index, dict.fromkeys(counts, 1), labels)
        Suggestion.objects.bulk_create(rows, ignore_conflicts=True)
        return counting(index, counts, labels)

    monkeypatch.setattr(vocabulary, "_rows_of", adding)
    vocabulary.recount(IMAGES)
    [kitchen] = suggest("kitch").categories
    assert kitchen.count == 2


@pytest.mark.parametrize("write", [vocabulary._add_values, vocabulary._count_values])
def test_values_are_inserted_in_one_order_so_that_two_workers_do_not_deadlock(write):
    values = {("category", name): name for name in ("wooden chair", "a mug", "old lamp")}
    if write is vocabulary._add_values:
        write(IMAGES, values, "default")
    else:
        write(IMAGES, dict.fromkeys(values, 2), values)
    keys = list(Suggestion.objects.order_by("pk").values_list("filter", "key", "start"))
    assert len(keys) == 6
    assert keys == sorted(keys)


def test_it_follows_titles_that_are_no_words_of_the_index():
    [made] = [product(GREEN, title="Alpha mug")]
    index_everything()
    made.title = "Omega mug"
    made.save()
    index_everything()
    assert (titles("omega"), titles("alpha")) == (["Omega mug"], [])


@pytest.mark.parametrize("broken", ["words_of", "names_of", "labelled_values_of"])
def test_a_product_whose_code_raises_takes_no_other_product_out(sell, monkeypatch, broken):
    real = getattr(type(IMAGES), broken)

    def raising(self, given, *values):
        if getattr(given, "product", given).title == "Alpha mug":
            raise RuntimeError("the shop's own code")
        return real(self, given, *values)

    monkeypatch.setattr(type(IMAGES), broken, raising)
    sell("Alpha mug", "Omega mug")
    assert titles("omega") == ["Omega mug"]
    vocabulary.recount(IMAGES)
    assert titles("omega") == ["Omega mug"]


@pytest.mark.parametrize("text", ["half \ud800 mug", "nul \0 mug"])
def test_a_value_that_no_database_takes_is_not_suggested_and_others_are(sell, monkeypatch, text):
    values = [
        ("category", text, "broken mug"),
        ("category", "mugs", text),
        ("category", "whole", "whole mug"),
    ]
    monkeypatch.setattr(type(IMAGES), "labelled_values_of", lambda self, image, read: values)
    sell("Alpha")
    vocabulary.recount(IMAGES)
    assert [each.label for each in suggest("mug").categories] == ["whole mug"]


def test_no_model_runs_and_no_store_is_asked_and_the_answer_is_bounded(sell, django_assert_max_num_queries):
    for number in range(6):
        category = Category.objects.create(name=f"red things {number}")
        sell(f"Red re{'abcdef'[number]}word", f"Red mug {number}", category=category)
    store = get_vector_store()
    store.asked.clear()
    suggest("re")
    with django_assert_max_num_queries(6):
        found = suggest("re")
    assert (len(found.images), len(found.categories), len(found.completions)) == (4, 3, 4)
    assert store.asked == []


def test_words_are_completed_to_those_that_products_say_one_of_each_ending(sell):
    sell("Red striped mug", "Red mugs", "Red mustard", "Teléfono móvil", "With mug")
    assert completions("mu") == ["mug", "mustard"]
    assert completions("tel") == ["teléfono"]
    assert completions("wit") == []
    assert completions("red str") == ["red striped"]
    assert completions("re str") == ["red striped"]
    assert completions("mug") == []  # it is what is typed


def asked(text, times=9, weak=0, source=EvaluationQuery.Source.SHOPPER, language="en"):
    EvaluationQuery.objects.create(
        index=IMAGES.name,
        text=text,
        language=language,
        source=source,
        times_asked=times,
        times_weak=weak,
        asked_on=datetime.date.today(),
    )


def test_popular_queries_are_those_of_many_shoppers_who_allow_it(sell, settings):
    sell("Red mug")
    asked("mug with a cat")
    asked("big mug", times=8)
    asked("mug for my doctor", times=4)
    asked("mug that is not sold", weak=8)
    asked("mug by staff", source=EvaluationQuery.Source.STAFF)
    asked("mug español", language="es")
    assert completions("mu") == ["mug"]
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "COLLECT_QUERIES": True}
    assert [(each.text, each.is_popular) for each in suggest("mu").completions] == [
        ("mug with a cat", True),
        ("big mug", True),
        ("mug", False),
    ]


def test_nothing_is_suggested_below_two_characters_nor_for_what_no_search_takes(sell):
    sell("Mug")
    assert (titles("m"), completions("m"), titles("+m")) == ([], [], [])
    for text, error in ((" ", EmptyQuery), ("m" * 1_001, QueryError)):
        with pytest.raises(error):
            suggest(text)
    with pytest.raises(QueryError):
        suggest("mug", index="nothing")


@hypothesis_settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(text=strategies.text(min_size=1, max_size=40))
def test_whatever_is_typed_has_an_answer(shop, text):
    try:
        found = suggest(text)
    except EmptyQuery:
        assert not text.strip()
    else:
        assert len(found.images) <= suggestions.MAX_PRODUCTS


@given(title=strategies.text(max_size=60))
def test_a_title_is_found_by_its_first_words_each(title):
    found = analyzer.starts(title)
    assert len(found) <= analyzer.MAX_STARTS
    for word in analyzer.plain(title).split()[:3]:
        assert any(start.startswith(word[:1]) for start in found)


# The REST API


def test_the_api_gives_addresses_and_is_kept_by_no_cache(sell, client):
    sell("Red mug", category=Category.objects.create(name="kitchenware"))
    response = client.get(API, {"q": "re"})
    assert response.headers["Cache-Control"] == "no-store"
    [found] = response.json()["products"]
    assert found["url"].startswith("http://testserver/products/")
    assert response.json()["completions"] == [
        {"text": "red", "popular": False, "url": "http://testserver/search/?q=red"}
    ]
    [category] = client.get(API, {"q": "kitch", "index": IMAGES.name}).json()["categories"]
    assert category["url"] == (
        f"http://testserver/search/?q=kitchenware&category=kitchenware&index={IMAGES.name}"
    )


def test_prices_are_the_shoppers_own(sell, client, monkeypatch):
    sell("Red mug")
    described = type(IMAGES).describe
    monkeypatch.setattr(
        type(IMAGES),
        "describe",
        lambda self, product, image, request=None: {
            **described(self, product, image),
            "price": request.META["HTTP_X_PRICE"],
        },
    )
    assert client.get(API, {"q": "red"}, headers={"X-Price": "3 €"}).json()["products"][0]["price"] == "3 €"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({}, "empty_query"),
        ({"q": "mug", "limit": 3}, "invalid"),
        ({"q": "mug", "category": "a"}, "invalid"),
        ({"q": "mug", "index": "nothing"}, "invalid"),
        ({"q": ["mug", "red"]}, "invalid"),
    ],
)
def test_the_api_says_what_is_wrong_as_search_does(client, parameters, code):
    response = client.get(API, parameters)
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_typing_is_throttled_by_itself_and_uses_up_no_searches(client, settings):
    cache.clear()
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": "2/day"}
    statuses = [client.get(API, {"q": "m"}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert client.get("/api/search/", {"q": "mug"}).status_code == 200


def test_switched_off_it_costs_nothing(sell, client, settings, django_assert_num_queries):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "SUGGESTIONS": False, "CORRECT_TYPING": False}
    sell("Red mug")
    with django_assert_num_queries(0):
        assert client.get(API, {"q": "red"}).status_code == 404
        assert "suggest" not in client.get("/search/").content.decode()
    assert not Suggestion.objects.exists()
    assert not VocabularyWord.objects.exists()
