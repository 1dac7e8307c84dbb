"""The admin's list of queries to judge, and writing one."""

import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from PIL import Image

from shopsearch.evaluation import judgements
from shopsearch.models import EvaluationQuery
from tests.admin.judging import ADD, CHANGE, INDEX, JUDGE, LIST, PICTURE, query, shown
from tests.admin.pages import page
from tests.shop.pictures import RED, picture

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.pages")]


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
    assert max(Image.open(io.BytesIO(answer.content)).size) == 448


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"text": "  "}, "Write some words, choose a picture, or both."),
        ({"text": " Red  MUG"}, "This query exists already."),
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
