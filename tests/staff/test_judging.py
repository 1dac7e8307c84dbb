"""Judging in the admin: queries, what search finds for them, and the grades that staff give."""

import io

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import translation
from PIL import Image

from shopsearch import judgements
from shopsearch.exceptions import VectorStoreError
from shopsearch.models import EvaluationQuery, Judgement
from shopsearch.registry import get_index
from shopsearch.testing import MemoryStore
from tests.shop.models import Product
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import index_everything
from tests.staff.pages import page
from tests.test_widget import Elements

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.staff.pages")]

LIST = "admin:shopsearch_evaluationquery_changelist"
ADD = "admin:shopsearch_evaluationquery_add"
CHANGE = "admin:shopsearch_evaluationquery_change"
JUDGE = "admin:shopsearch_evaluationquery_judge"
PICTURE = "admin:shopsearch_evaluationquery_picture"
INDEX = "shopsearch_productimage"


@pytest.fixture
def mugs(settings):
    """By colour; two results to a page."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "PAGE_SIZE": 2, "MAX_PAGE_SIZE": 3}
    colours = {"red": RED, "green": GREEN, "blue": BLUE}
    made = {name: product(colour, title=f"{name} mug") for name, colour in colours.items()}
    index_everything()
    return made


def query(text="red mug", **fields):
    return EvaluationQuery.objects.create(**{"index": INDEX, "text": text} | fields)


def grades(asked):
    return dict(asked.judgements.values_list("product_id", "grade"))


def shown(html):
    """The products on the page, with the grade that is chosen: ``{"5": "3", "7": ""}``."""
    radios = Elements(html).all("input", type="radio")
    return {each["name"].removeprefix("grade-"): each["value"] for each in radios if "checked" in each}


def submit(client, asked, chosen, *, button="_save", before=None, **more):
    """Post the form as a browser would that showed ``before``."""
    before = grades(asked) if before is None else before
    data = {f"before-{key}": grade for key, grade in before.items()}
    data |= {f"grade-{key}": grade for key, grade in {**before, **chosen}.items()}
    return client.post(reverse(JUDGE, args=[asked.pk]), {**data, button: "1", **more})


def test_the_page_shows_what_search_finds_now_best_first_and_nothing_is_graded(admin_client, mugs):
    asked = query()
    html = page(admin_client, JUDGE, asked.pk)
    assert "“red mug”" in html
    assert next(iter(shown(html))) == str(mugs["red"].pk)
    assert set(shown(html).values()) == {""}
    assert f'src="{mugs["red"].images.get().image.url}"' in html
    assert len(shown(html)) == 2
    assert Elements(html).all("fieldset")
    assert html.count("<legend") == 2


def test_grades_are_saved_with_who_gave_them_and_shown_again(admin_client, mugs):
    asked = query()
    red, blue = str(mugs["red"].pk), str(mugs["blue"].pk)
    response = submit(admin_client, asked, {red: "3", blue: "0"})
    assert response["Location"] == f"{reverse(JUDGE, args=[asked.pk])}?results=2"
    assert grades(asked) == {red: 3, blue: 0}
    judgement = asked.judgements.get(product_id=red)
    assert judgement.judged_by == User.objects.get(username="admin")
    assert shown(page(admin_client, JUDGE, asked.pk))[red] == "3"


def test_a_grade_is_changed_and_taken_back(admin_client, mugs):
    asked = query()
    red, blue = str(mugs["red"].pk), str(mugs["blue"].pk)
    submit(admin_client, asked, {red: "3", blue: "2"})
    submit(admin_client, asked, {red: "1", blue: ""})
    assert grades(asked) == {red: 1}


def test_what_a_colleague_graded_meanwhile_stays(admin_client, mugs):
    asked = query()
    red, blue = str(mugs["red"].pk), str(mugs["blue"].pk)
    judgements.judge(asked, {red: 3}, by=None)
    submit(admin_client, asked, {blue: "2"}, before={red: "", blue: ""})
    assert grades(asked) == {red: 3, blue: 2}


def test_all_that_was_left_open_can_be_graded_0_at_once(admin_client, mugs):
    asked = query()
    red, blue, green = (str(mugs[each].pk) for each in ("red", "blue", "green"))
    judgements.judge(asked, {green: 2}, by=None)
    submit(admin_client, asked, {red: "3", green: ""}, before={red: "", blue: "", green: "2"}, rest="0")
    assert grades(asked) == {red: 3, blue: 0}


@pytest.mark.parametrize("grade", ["4", "-1", "best", "3 ", "\0"])
def test_a_grade_that_there_is_not_is_not_written(admin_client, mugs, grade):
    asked = query()
    submit(admin_client, asked, {str(mugs["red"].pk): grade, "x" * 256: "3", "a\0b": "3", "": "3"})
    assert grades(asked) == {}


def test_more_results_are_shown_and_what_was_graded_so_far_is_saved(admin_client, mugs):
    asked = query()
    red = str(mugs["red"].pk)
    assert 'name="_more"' in page(admin_client, JUDGE, asked.pk)
    response = submit(admin_client, asked, {red: "3"}, button="_more", results="2")
    assert response["Location"] == f"{reverse(JUDGE, args=[asked.pk])}?results=3#result-3"
    html = admin_client.get(response["Location"]).content.decode()
    assert len(shown(html)) == 3
    assert 'name="_more"' not in html
    assert grades(asked) == {red: 3}


def test_a_judgement_of_what_is_no_longer_found_is_never_out_of_sight(admin_client, mugs):
    asked = query()
    hidden, gone = mugs["blue"], product(RED, title="sold out mug")
    judgements.judge(asked, {str(hidden.pk): 1, str(gone.pk): 2, "not-a-key": 3}, by=None)
    gone_key = str(gone.pk)
    gone.delete()
    hidden.images.all()[0].image.storage.delete(hidden.images.get().image.name)
    html = page(admin_client, JUDGE, asked.pk)
    others = html.split("Judged before, and not among these results")[1]
    assert set(shown(others)) == set(shown(html)) - set(list(shown(html))[:2])
    assert {gone_key, "not-a-key"} <= shown(others).keys()
    assert others.count("no longer in the shop") == 2
    submit(admin_client, asked, {gone_key: ""})
    assert grades(asked) == {str(hidden.pk): 1, "not-a-key": 3}


def test_where_search_is_away_the_page_says_so_and_shows_what_was_judged(admin_client, mugs, monkeypatch):
    asked = query()
    judgements.judge(asked, {str(mugs["red"].pk): 3}, by=None)

    def away(*args, **kwargs):
        raise VectorStoreError("secret.host is away")

    monkeypatch.setattr(MemoryStore, "search", away)
    html = page(admin_client, JUDGE, asked.pk)
    assert "Search is away for the moment" in html
    assert "secret.host" not in html
    assert shown(html) == {str(mugs["red"].pk): "3"}
    submit(admin_client, asked, {str(mugs["red"].pk): "2"})
    assert grades(asked) == {str(mugs["red"].pk): 2}


def test_a_query_of_an_index_that_is_gone_is_a_sentence(admin_client):
    asked = query(index="shop_umbrella")
    judgements.judge(asked, {"7": 3}, by=None)
    html = page(admin_client, JUDGE, asked.pk)
    assert "no index shop_umbrella any more" in html
    assert shown(html) == {"7": "3"}


def test_save_and_next_goes_to_the_query_most_asked_that_nobody_judged_until_all_are(admin_client, mugs):
    rare, often, judged = (
        query("red", times_asked=2),
        query("blue", times_asked=9),
        query("green", times_asked=5),
    )
    judgements.judge(judged, {"1": 0}, by=None)
    red = str(mugs["red"].pk)
    assert reverse(JUDGE, args=[often.pk]) in page(admin_client, LIST)
    response = submit(admin_client, often, {red: "1"}, button="_next")
    assert response["Location"] == reverse(JUDGE, args=[rare.pk])
    response = submit(admin_client, rare, {red: "3"}, button="_next")
    assert response["Location"] == reverse(LIST)
    assert "Every query has been judged" in admin_client.get(response["Location"]).content.decode()


def test_a_query_that_was_passed_over_comes_again_at_the_end(mugs):
    first, second = query("red", times_asked=2), query("blue", times_asked=1)
    assert judgements.next_query(first) == second
    assert judgements.next_query(second) == first


def test_the_list_tells_how_many_are_judged_and_filters_by_that_and_by_source(admin_client):
    query("from a shopper", source="shopper", times_asked=41)
    judgements.judge(query("from us"), {"1": 3, "2": 0}, by=None)
    html = page(admin_client, LIST)
    assert '<td class="field-times">41</td>' in html
    assert '<td class="field-judged">2</td>' in html

    def listed(**conditions):
        found = admin_client.get(reverse(LIST), conditions).content.decode()
        return [text for text in ("from a shopper", "from us") if f">{text}</a>" in found]

    assert listed(judged="no") == listed(source="shopper") == ["from a shopper"]
    assert listed(judged="yes") == listed(source="staff") == ["from us"]


def test_a_long_list_takes_as_many_queries_as_a_short_one(admin_client, django_assert_max_num_queries):
    for number in range(20):
        query(f"mug {number}")
    with django_assert_max_num_queries(9):
        page(admin_client, LIST)


def test_staff_write_a_query_with_a_picture_and_judge_it_at_once(admin_client, mugs):
    upload = SimpleUploadedFile("red.png", picture(RED, size=(900, 700)).read(), "image/png")
    data = {"index": INDEX, "text": "a mug like this", "language": "en", "upload": upload}
    response = admin_client.post(reverse(ADD), data)
    asked = EvaluationQuery.objects.get()
    assert response["Location"] == reverse(JUDGE, args=[asked.pk])
    assert asked.source == "staff"
    html = page(admin_client, JUDGE, asked.pk)
    assert next(iter(shown(html))) == str(mugs["red"].pk)
    assert reverse(PICTURE, args=[asked.pk]) in html
    answer = admin_client.get(reverse(PICTURE, args=[asked.pk]))
    assert "no-store" in answer["Cache-Control"]
    assert max(Image.open(io.BytesIO(answer.content)).size) == 480


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"text": "  "}, "Write some words, choose a picture, or both."),
        ({"text": " Red  MUG"}, "This query is there already."),
        ({"text": "x", "upload": SimpleUploadedFile("x.png", b"no picture")}, "not a picture"),
    ],
)
def test_what_is_no_new_query_is_refused_with_a_sentence(admin_client, given, sentence):
    query()
    response = admin_client.post(reverse(ADD), {"index": INDEX, "language": "", **given})
    assert sentence in response.content.decode()
    assert EvaluationQuery.objects.count() == 1


def test_the_words_of_a_query_stay_once_it_is_judged(admin_client, mugs):
    asked = query()
    data = {"index": INDEX, "text": "red cup", "language": "en"}
    assert admin_client.post(reverse(CHANGE, args=[asked.pk]), data).status_code == 302
    judgements.judge(asked, {str(mugs["red"].pk): 3}, by=None)
    assert admin_client.post(reverse(CHANGE, args=[asked.pk]), {**data, "text": "blue"}).status_code == 302
    asked.refresh_from_db()
    assert asked.text == "red cup"
    assert 'name="text"' not in page(admin_client, CHANGE, asked.pk)


def test_who_may_judge_judges_who_may_look_looks_and_nobody_else_sees_it(staff, client, mugs):
    asked = query()
    address, red = reverse(JUDGE, args=[asked.pk]), str(mugs["red"].pk)
    assert client.get(address).status_code == 302
    assert staff().get(address).status_code == 403
    User.objects.all().delete()
    looking = staff("view_evaluationquery")
    html = looking.get(address).content.decode()
    assert all("disabled" in each for each in Elements(html).all("fieldset"))
    assert 'name="_save"' not in html
    assert submit(looking, asked, {red: "3"}).status_code == 403
    User.objects.all().delete()
    judging = staff("judge")
    assert page(judging, LIST)
    assert submit(judging, asked, {red: "3"}).status_code == 302
    assert grades(asked) == {red: 3}
    assert judging.get(reverse(ADD)).status_code == 403


def test_pictures_of_queries_are_for_staff_who_may_see_them(staff, client):
    asked = query(picture=picture().read())
    address = reverse(PICTURE, args=[asked.pk])
    assert client.get(address).status_code == 302
    assert staff().get(address).status_code == 403


def test_a_judgement_outlives_who_gave_it(admin_client, mugs):
    asked = query()
    judgements.judge(asked, {"1": 3}, by=User.objects.get())
    User.objects.get().delete()
    assert asked.judgements.get().judged_by is None


def test_what_shoppers_wrote_and_products_are_called_is_shown_as_text(admin_client, mugs):
    evil = "<script>alert(1)</script>"
    Product.objects.update(title=evil)
    asked = query(evil)
    judgements.judge(asked, {f'"{evil}': 3}, by=None)
    for html in (page(admin_client, JUDGE, asked.pk), page(admin_client, LIST)):
        assert evil not in html
        assert "style=" not in html
    submit(admin_client, asked, {f'"{evil}': ""})
    assert grades(asked) == {}


def test_the_evaluation_gets_the_judged_queries_of_its_index_with_their_pictures_and_grades(mugs):
    words, composed = query("red mug", language="en"), query("like this", picture=picture(BLUE).read())
    query("nobody judged")
    other = query("sea", index="shop_posterimage")
    for asked, given in ((words, {"1": 3, "2": 0}), (composed, {"2": 2}), (other, {"1": 1})):
        judgements.judge(asked, given, by=None)
    first, second = judgements.judged_queries(get_index(INDEX))
    assert (first.id, first.text, first.image, first.language) == (str(words.pk), "red mug", None, "en")
    assert (first.kind, first.relevant) == ("text", {"1": 3, "2": 0})
    assert (second.kind, second.relevant) == ("composed", {"2": 2})
    assert Image.open(io.BytesIO(second.image)).getpixel((0, 0)) == BLUE


def test_a_product_of_a_query_has_one_judgement():
    asked = query()
    judgements.judge(asked, {"1": 3}, by=None)
    judgements.judge(asked, {"1": 1}, by=None)
    assert Judgement.objects.count() == 1


def test_judging_speaks_spanish(admin_client, mugs):
    asked = query()
    with translation.override("es"):
        html = page(admin_client, JUDGE, asked.pk)
    assert "justo lo que se pedía" in html
    assert "<kbd>Retroceso</kbd>" in html
    assert "0 productos valorados" in html
