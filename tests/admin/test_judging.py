"""Judging in the admin: queries, what search finds for them, and the grades that staff give."""

import io

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import translation
from PIL import Image

from shopsearch.evaluation import judgements
from shopsearch.exceptions import VectorStoreError
from shopsearch.models import Judgement
from shopsearch.registry import get_index
from shopsearch.testing import MemoryStore
from tests.admin.judging import ADD, INDEX, JUDGE, LIST, PICTURE, grades, query, shown, submit
from tests.admin.pages import page
from tests.shop.models import Product
from tests.shop.pictures import BLUE, RED, picture, product
from tests.storefront.test_widget import Elements

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.pages")]


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
    assert "no longer has an index shop_umbrella" in html
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
