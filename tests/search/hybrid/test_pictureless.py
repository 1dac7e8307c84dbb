"""Products without a picture: found by words, never by looks, and on the right side whatever happens to pictures."""

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, example, given, strategies
from hypothesis import settings as hypothesis_settings
from PIL import Image

from shopsearch.backends import get_vector_store
from shopsearch.evaluation import html, judgements
from shopsearch.indexing import pictureless, receivers, visibility
from shopsearch.models import Collection, PicturelessProduct, ProductChange, ProductImage, Rule, RuleAction
from shopsearch.registry import index_for
from shopsearch.rerankers import Reranker
from shopsearch.search import reranking, rules, search, similar, spelling
from shopsearch.search.engine import answer
from shopsearch.search.examples import of_picture
from shopsearch.search.request import SearchRequest
from shopsearch.types import RerankerOutput
from tests.shop.models import Category, Product
from tests.shop.pictures import GREEN, RED, picture, product
from tests.shop.store import entities, index_everything, live_name

IMAGES = index_for(ProductImage)
pytestmark = pytest.mark.django_db


@pytest.fixture
def sell(declare, monkeypatch):
    """Products without a picture, beside one that has one, indexed."""
    monkeypatch.setattr(type(IMAGES), "pictureless", True)
    declare()
    receivers.connect()
    product(RED, title="Enamel mug")

    def sell(*titles, **values):
        made = [Product.objects.create(title=title, **values) for title in titles]
        index_everything()
        spelling.forget()
        return made

    return sell


def found(text="", image=None, **options):
    return [each.product.title for each in search(text, image, **options).results]


def give_picture(owner, colour=GREEN):
    return ProductImage.objects.create(product=owner, image=picture(colour))


@pytest.mark.parametrize("asked", ["AB-12/3", "AB123", "ab12", "ＡＢ－１２／３"])
def test_its_sku_finds_it_first(sell, asked):
    sell("AB-12/3", "AB-12/4 for mugs")
    answered = search(asked)
    assert answered.results[0].product.title == "AB-12/3"
    assert answered.results[0].image is None


@pytest.mark.parametrize(
    "asked", ["walnut rocking chair", "chairs of walnut", "Rocking Chair", "furniture rocking"]
)
def test_all_words_of_a_query_find_it_whatever_their_endings(sell, asked):
    sell("Walnut rocking chair", category=Category.objects.create(name="furniture"))
    assert found(asked)[0] == "Walnut rocking chair"


def test_a_shop_without_a_single_picture_is_searched_by_words(sell):
    Product.objects.all().delete()
    index_everything()
    Collection.objects.all().delete()
    sell("Oak chair", "Oak table")
    assert found("oak chair") == ["Oak chair"]
    assert found("oak", limit=1) + found("oak", limit=1, offset=1) == found("oak")
    assert answer(SearchRequest(text="oak", facets=["*"])).facets
    call_command("shopsearch_reindex", here=True, verbosity=0)
    assert found("oak table") == ["Oak table"]


def test_some_words_of_a_query_do_not_find_it(sell):
    sell("Walnut rocking chair")
    assert found("walnut mug") == ["Enamel mug"]


def test_a_product_with_a_picture_and_all_words_comes_before_it_and_its_exact_name_before_that(sell):
    sell("Enamel mug large", "Enamel")
    assert found("enamel") == ["Enamel", "Enamel mug", "Enamel mug large"]


def test_no_picture_finds_it_and_no_vector_is_kept_of_it(sell):
    [chair] = sell("Walnut rocking chair")
    red = Image.new("RGB", (16, 16), RED)
    assert found(image=red) == ["Enamel mug"]
    assert found("walnut rocking chair", red) == ["Enamel mug"]
    assert similar(chair).results == ()
    assert get_vector_store().count(live_name()) == 1


def test_filters_and_facets_count_it(sell):
    furniture, toys = (Category.objects.create(name=name) for name in ("furniture", "toys"))
    sell("Oak chair", category=furniture, price=90)
    sell("Toy chair", category=toys, price=5)
    assert found("chair", filters={"category": "furniture"})[0] == "Oak chair"
    assert "Oak chair" not in found("chair", filters={"price__lte": 10})
    answered = answer(SearchRequest(text="chair", facets=["category"]))
    [category] = answered.facets
    assert {each.value: each.count for each in category.values} == {"furniture": 1, "toys": 1}
    red = of_picture(Image.new("RGB", (16, 16), RED))
    [category] = answer(SearchRequest(examples=red, facets=["category"])).facets
    assert category.values == ()


def test_its_card_and_its_answer_have_no_picture_and_offer_nothing_like_it(sell, client):
    [chair] = sell("Oak chair")
    [result, *_] = client.get("/api/search/", {"q": "oak chair"}).json()["results"]
    assert (result["product"]["id"], result["product"]["image"], result["image_id"]) == (chair.pk, "", "")
    page = client.get("/search/", {"q": "oak chair"})
    cards = page.context["search"].cards
    assert [bool(card.similar_url) for card in cards] == [False, True]
    assert page.content.decode().count("shopsearch-card__picture--none") == 1


class Backwards(Reranker):
    model = "backwards"

    def rerank(self, query, candidates):
        return RerankerOutput(scores=list(range(len(candidates))))


def test_a_rerank_looks_at_the_others_and_leaves_it_in_its_place(sell, settings):
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "RERANKER": {"BACKEND": f"{__name__}.Backwards"},
        "RERANK_WEIGHT": 1,
    }
    for _ in range(2):
        product(RED, title="Oak mug")
    sell("Oak mug large")
    answered = search("oak mugs")
    titles = [each.product.title for each in answered.results]
    assert titles == ["Oak mug", "Oak mug", "Oak mug large", "Enamel mug"]
    order = reranking.order_of(IMAGES, answered)
    assert sorted(order.positions) == [0, 1, 2, 3]
    assert order.positions[2] == 2
    assert order.positions != (0, 1, 2, 3)


def test_it_can_be_sorted_excluded_and_asked_for_in_quotes(sell):
    sell("Oak chair", price=90)
    sell("Pine chair", price=20)
    assert found("chair", sort="price") == ["Enamel mug", "Pine chair", "Oak chair"]
    assert "Oak chair" not in found("chair -oak")
    assert found('"pine chair"')[0] == "Pine chair"


def test_an_evaluation_and_a_rule_know_it_as_any_other_product(sell):
    [chair] = sell("Oak chair")
    key = str(chair.pk)
    [known, gone] = html._shown(IMAGES, [key, "0"], {key: 2}).values()
    assert (known.title, known.picture, known.grade) == ("Oak chair", "", 2)
    assert "not in the shop" in gone.title
    described = judgements._descriptions(IMAGES, [key, "0"])
    assert {each: (said["title"], said["image"]) for each, said in described.items()} == {
        key: ("Oak chair", "")
    }
    hides = Rule.objects.create(name="rule", index=IMAGES.name, trigger="any")
    RuleAction.objects.create(rule=hides, kind="hide", products=key)
    assert rules.states_of([hides]) == {hides.pk: Rule.State.IN_FORCE}
    Product.objects.filter(pk=chair.pk).update(published=False)
    assert rules.states_of([hides]) == {hides.pk: Rule.State.WITHOUT_PRODUCTS}


def test_the_preview_of_a_rule_asks_for_no_picture_that_there_is_not(sell, admin_client):
    [chair] = sell("Oak chair")
    made = Rule.objects.create(name="rule", index=IMAGES.name, trigger="contains", words="oak")
    RuleAction.objects.create(rule=made, kind="pin", products=str(chair.pk))
    page = admin_client.get(reverse("admin:shopsearch_rule_preview", args=[made.pk])).content.decode()
    assert "Oak chair" in page
    assert 'src=""' not in page


def test_its_words_are_no_typing_errors(sell):
    sell("Walnut ruckel")
    call_command("shopsearch_reindex", here=True, verbosity=0)
    spelling.forget()
    assert search("ruckel").corrected == ""
    assert search("rukcel").corrected == "ruckel"


def test_a_search_asks_the_shop_now_whether_it_is_still_shown_without_a_picture(sell):
    chair, table = sell("Oak chair", "Oak table")
    Product.objects.filter(pk=chair.pk).update(published=False)  # nothing is noted of this
    assert "Oak chair" not in found("oak chair")
    table.delete()
    assert "Oak table" not in found("oak table")


def test_a_renamed_category_finds_it_by_its_new_name(sell):
    category = Category.objects.create(name="furniture")
    sell("Oak chair", category=category)
    category.name = "seating"
    category.save()
    index_everything()
    assert found("seating")[0] == "Oak chair"
    assert "Oak chair" not in found("furniture")


def test_a_worker_that_read_the_product_earlier_does_not_overwrite_what_a_later_one_wrote(sell, monkeypatch):
    [chair] = sell("Oak chair")
    terms = pictureless._terms

    def overtaken(*read_of):
        read = terms(*read_of)
        monkeypatch.setattr(pictureless, "_terms", terms)
        Product.objects.filter(pk=chair.pk).update(title="Pine bench")
        pictureless.refresh(IMAGES, [str(chair.pk)], "default")
        return read

    monkeypatch.setattr(pictureless, "_terms", overtaken)
    Product.objects.filter(pk=chair.pk).update(title="Elm stool")
    pictureless.refresh(IMAGES, [str(chair.pk)], "default")
    assert found("pine bench")[0] == "Pine bench"


def test_one_whose_words_cannot_be_read_does_not_keep_others_from_being_found(sell, monkeypatch):
    chair, table = sell("Oak chair", "Oak table")
    words = type(IMAGES).get_words
    monkeypatch.setattr(
        type(IMAGES), "get_words", lambda self, each: 1 / 0 if each.pk == chair.pk else words(self, each)
    )
    for each in (chair, table):
        each.title = f"New {each.title}"
        each.save()
    index_everything()
    assert found("new oak table")[0] == "New Oak table"
    assert not ProductChange.objects.exists()


def test_a_row_that_another_worker_deletes_while_this_one_begins_is_written_all_the_same(sell):
    [chair] = sell("Oak chair")
    table = PicturelessProduct._meta.db_table
    deleted = []

    def meanwhile(execute, sql, *args):
        if sql.startswith("UPDATE") and table in sql and not deleted:
            deleted.append(True)
            PicturelessProduct.objects.all().delete()
        return execute(sql, *args)

    with connection.execute_wrapper(meanwhile):
        pictureless.refresh(IMAGES, [str(chair.pk)], "default")
    assert deleted
    assert found("oak chair")[0] == "Oak chair"


def test_one_that_the_shops_get_product_cannot_give_does_not_keep_others_from_being_found(sell, monkeypatch):
    chair, table = sell("Oak chair", "Oak table")
    given = type(IMAGES).get_product

    def get_product(self, image):
        return given(self, image) if image.product_id != chair.pk else 1 / 0

    monkeypatch.setattr(type(IMAGES), "get_product", get_product)
    for each in (chair, table):
        each.title = f"New {each.title}"
        each.save()
    index_everything()
    assert not ProductChange.objects.exists()
    assert set(PicturelessProduct.objects.values_list("key", flat=True)) == {str(chair.pk), str(table.pk)}
    assert "new" in PicturelessProduct.objects.get(key=str(table.pk)).terms


@isolate_apps("tests.shop")
def test_a_picture_names_its_products_key_even_if_it_refers_to_another_of_its_fields(sell):
    class Photo(models.Model):
        product = models.ForeignKey(Product, models.CASCADE, to_field="serial")

        class Meta:
            app_label = "tests.shop"

        def __str__(self):
            return "photo"

    [chair] = sell("Oak chair", serial=4711)
    assert list(receivers._keys_at(Photo(product=chair), "product", "default")) == [chair.pk]
    assert list(receivers._keys_at(Photo(product_id=5), "product", "default")) == []


def test_however_its_key_is_written_its_row_is_the_same(sell):
    [chair] = sell("Oak chair")
    Product.objects.filter(pk=chair.pk).update(title="Elm stool")
    pictureless.refresh(IMAGES, [f"0{chair.pk}"], "default")
    assert found("elm stool")[0] == "Elm stool"


def test_the_one_that_is_called_so_is_found_among_any_number_that_have_the_word(sell, monkeypatch):
    monkeypatch.setattr("shopsearch.search.pictureless.MAX_FOUND", 3)
    sell(*(f"Oak chair of a long name {number}" for number in range(4)), "Oak table", "Oak")
    assert found("oak")[:2] == ["Oak", "Oak table"]


@pytest.mark.parametrize("sign", ["", "-"])
def test_the_longest_text_is_answered_whatever_its_words_are(sell, sign):
    sell("Oak chair")
    ideographs = map(chr, range(0x4E00, 0x4E00 + 1000))
    assert found((" ".join if sign else "".join)(f"{sign}{each}" for each in ideographs)[:1000]) is not None


def test_one_whose_filters_cannot_be_read_passes_none_and_harms_no_other(sell, monkeypatch):
    chair, _table = sell("Oak chair", "Oak table", price=5)
    values = type(IMAGES).get_filter_values

    def get_filter_values(self, image):
        return values(self, image) if image.product_id != chair.pk else 1 / 0

    monkeypatch.setattr(type(IMAGES), "get_filter_values", get_filter_values)
    titles = found("oak", filters={"price__lte": 10})
    assert "Oak table" in titles
    assert "Oak chair" not in titles


def test_staff_can_pin_it_as_any_other_product(sell):
    [chair] = sell("Oak chair")
    pin = rules.Action(kind="pin", products=(chair.pk,), place=1)
    tried = [rules.Rule(name="rule", actions=(pin,))]
    for asked in ("mug", "oak chair"):
        [first, *_] = answer(SearchRequest(text=asked, rules=tried)).results
        assert (first.product, first.image, first.rule) == (chair, None, "rule")
    red = of_picture(Image.new("RGB", (16, 16), RED))
    answered = answer(SearchRequest(examples=red, rules=tried, facets=["category"]))
    assert [each.product.title for each in answered.results] == ["Oak chair", "Enamel mug"]

    def shown(**asked):
        return [each.product.title for each in answer(SearchRequest(rules=tried, **asked)).results]

    assert shown(text="mug -oak") == ["Enamel mug"]
    assert shown(text="mug", filters={"price__gte": 1}) == []
    Product.objects.filter(pk=chair.pk).update(published=False)
    assert shown(text="mug") == ["Enamel mug"]


def test_while_they_cannot_be_looked_at_they_wait(sell, monkeypatch):
    monkeypatch.setattr(pictureless, "refresh", lambda *args: 1 / 0)
    [chair] = sell("Oak chair")
    assert ProductChange.objects.filter(key=str(chair.pk)).exists()
    assert not ProductChange.objects.due().exists()  # not at once again


def test_what_sends_no_signal_is_found_by_a_reindex_and_dropped_when_the_index_stops(sell, monkeypatch):
    sell()
    Product.objects.bulk_create([Product(title="Oak chair")])
    call_command("shopsearch_reindex", here=True, verbosity=0)
    assert found("oak chair")[0] == "Oak chair"
    monkeypatch.setattr(type(IMAGES), "pictureless", False)
    assert "Oak chair" not in found("oak chair")
    call_command("shopsearch_reindex", here=True, verbosity=0)
    assert not PicturelessProduct.objects.exists()


def test_one_that_appears_with_time_is_found_from_then_on(sell, monkeypatch):
    [chair] = sell("Oak chair", published=False)
    monkeypatch.setattr(type(IMAGES), "changes_at", lambda self, now: timezone.now())
    Product.objects.filter(pk=chair.pk).update(published=True)
    visibility.note_due()
    index_everything()
    assert found("oak chair")[0] == "Oak chair"


def test_an_index_that_does_not_ask_for_them_notes_and_asks_nothing(sell, monkeypatch):
    monkeypatch.setattr(type(IMAGES), "pictureless", False)
    with CaptureQueriesContext(connection) as asked:
        [chair] = sell("Oak chair")
        give_picture(chair).delete()
        index_everything()
        found("oak chair")
        chair.delete()
    tables = (PicturelessProduct._meta.db_table, ProductChange._meta.db_table)
    assert not [each["sql"] for each in asked if any(table in each["sql"] for table in tables)]


STEPS = ("give", "take", "move", "hide", "show", "rename", "delete", "category")


@hypothesis_settings(
    max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    steps=strategies.lists(
        strategies.tuples(strategies.sampled_from(STEPS), strategies.integers(0, 1)), max_size=8
    )
)
@example(steps=[("give", 0), ("give", 0), ("move", 0), ("move", 0)])
@example(steps=[("give", 0), ("hide", 0), ("take", 0), ("show", 0)])
@example(steps=[("give", 0), ("rename", 0), ("delete", 1), ("take", 0)])
def test_whatever_happens_to_pictures_at_rest_every_shown_product_is_on_its_side_and_no_other(sell, steps):
    products = sell("Oak chair", "Oak table")
    for number, (step, which) in enumerate(steps):
        row = products[which]
        own = ProductImage.objects.filter(product=row)
        if step == "give":
            give_picture(row)
        elif step == "take" and own:
            own.first().delete()
        elif step == "move" and own:
            moved = own.first()
            moved.product = products[1 - which]
            if Product.objects.filter(pk=moved.product.pk).exists():
                moved.save()
        elif not Product.objects.filter(pk=row.pk).exists():
            continue
        elif step in ("hide", "show"):
            row.published = step == "show"
            row.save()
        elif step == "rename":
            row.title = f"Oak thing {number}"
            row.save()
        elif step == "category":
            row.category = Category.objects.create(name=f"group{number}")
            row.save()
        elif step == "delete":
            Product.objects.filter(pk=row.pk).delete()
        if number % 2:
            index_everything()
    index_everything()
    shown = Product.objects.filter(published=True, title__startswith="Oak")
    without = {str(each.pk): f" {IMAGES.terms_of(each)} " for each in shown.filter(images=None)}
    assert dict(PicturelessProduct.objects.values_list("key", "terms")) == without
    assert {
        each.product.pk: each.image is None for each in search("oak").results if "Oak" in each.product.title
    } == {each.pk: str(each.pk) in without for each in shown}
    assert set(entities()) == {str(key) for key in IMAGES.get_queryset().values_list("pk", flat=True)}
    Product.objects.filter(title__startswith="Oak").delete()
    index_everything()
    assert not PicturelessProduct.objects.exists()
