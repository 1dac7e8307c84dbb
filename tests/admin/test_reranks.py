"""Receipts of reranks in the admin: what was asked, what the model said, what came of it."""

import io

import pytest
from django.urls import reverse
from PIL import Image

from shopsearch.models import ProductImage, Rerank
from shopsearch.registry import get_index
from shopsearch.search import reranking
from shopsearch.search.engine import search
from tests.admin.pages import page
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.rerankers import LastFirst
from tests.shop.store import index_everything

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.pages")]

LIST = "admin:shopsearch_rerank_changelist"
DETAIL = "admin:shopsearch_rerank_change"
COLLAGE = "admin:shopsearch_rerank_collage"


@pytest.fixture
def rerank(settings):
    """Asked for, not answered."""
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "RERANKER": {"BACKEND": "tests.shop.rerankers.LastFirst"},
        "RERANK_WEIGHT": 1,
    }
    for title, colour in (("red mug", RED), ("green mug", GREEN), ("blue mug", BLUE)):
        product(colour, title=title)
    index_everything()
    picture = Image.new("RGB", (64, 64), RED)
    return reranking.request(get_index(""), search("mug", picture))


def thumbnails(html, part):
    """The pictures' addresses in a field of the receipt, in the order in which they stand."""
    field = html.split(f"field-{part}")[1].split("</ol>")[0]
    return [piece.split('"')[0] for piece in field.split('src="')[1:]]


def addresses(products):
    images = {image.product_id: image.image.url for image in ProductImage.objects.all()}
    return [images[each] for each in products]


def test_a_rerank_is_listed_with_its_words_its_state_its_model_and_what_was_repaired(admin_client, rerank):
    assert 'shopsearch-state-queued">queued<' in page(admin_client, LIST)
    reranking.answer_next()
    Rerank.objects.update(repairs={"repeated": 2})
    listed = page(admin_client, LIST)
    assert ">mug</a>" in listed
    assert 'shopsearch-state-done">done<' in listed
    assert "last-first" in listed
    assert "repeated: 2" in listed


def test_a_receipt_shows_the_candidates_in_both_orders_and_what_the_model_said(admin_client, rerank):
    reranking.answer_next()
    rerank.refresh_from_db()
    shown = page(admin_client, DETAIL, rerank.pk)
    first = addresses(each["product"] for each in rerank.candidates)
    assert thumbnails(shown, "first_order") == first
    assert thumbnails(shown, "final_order") == addresses(rerank.order) == first[::-1]
    assert "the last shall be first" in shown
    assert "Looks like: a square" in shown
    assert "it has waited longest." in shown


def test_a_receipt_says_that_the_shoppers_picture_is_not_kept(admin_client, rerank):
    assert "Kept until the rerank ends, and shown to nobody" in page(admin_client, DETAIL, rerank.pk)
    reranking.answer_next()
    assert "deleted as soon as its rerank ends" in page(admin_client, DETAIL, rerank.pk)


def test_a_rerank_that_failed_says_why_and_that_the_order_stayed(admin_client, rerank, monkeypatch):
    monkeypatch.setattr(LastFirst, "is_broken", True)
    reranking.answer_next()
    assert "The model is out of order." in page(admin_client, LIST)
    assert "the rerank ended without an order" in page(admin_client, DETAIL, rerank.pk)


def test_what_a_model_wrote_is_shown_as_text(admin_client, rerank):
    evil = "<script>alert(1)</script>"
    Rerank.objects.update(raw=evil, caption=evil, reason=evil, error=evil, text=evil, repairs={evil: 1})
    assert evil not in page(admin_client, LIST)
    shown = page(admin_client, DETAIL, rerank.pk)
    assert evil not in shown
    assert "style=" not in shown


def test_the_collage_has_every_candidate_in_retrievals_order(admin_client, rerank):
    address = reverse(COLLAGE, args=[rerank.pk])
    assert address in page(admin_client, DETAIL, rerank.pk)
    response = admin_client.get(address)
    assert response["Content-Type"] == "image/jpeg"
    assert "no-store" in response["Cache-Control"]
    shown = Image.open(io.BytesIO(response.content))
    assert shown.size == (600, 600)
    colours = [shown.getpixel(centre) for centre in ((150, 150), (450, 150), (150, 450))]
    expected = [ProductImage.objects.get(pk=each["image"]) for each in rerank.candidates]
    for seen, image in zip(colours, expected, strict=True):
        true = Image.open(image.image.path).convert("RGB").getpixel((0, 0))
        assert max(abs(one - other) for one, other in zip(seen, true, strict=True)) < 12


@pytest.mark.parametrize("loss", ["picture", "image", "index"])
def test_a_receipt_outlives_what_it_is_about(admin_client, rerank, loss):
    image = ProductImage.objects.first()
    if loss == "picture":
        image.image.storage.delete(image.image.name)
    elif loss == "image":
        image.delete()
    else:
        Rerank.objects.update(index="no_more")
    shown = page(admin_client, DETAIL, rerank.pk)
    assert ("gone" in shown) == (loss != "picture")
    response = admin_client.get(reverse(COLLAGE, args=[rerank.pk]))
    assert Image.open(io.BytesIO(response.content)).size == (600, 600)


def test_receipts_are_for_staff_who_may_see_them_and_nobody_changes_them(client, staff, rerank):
    address = reverse(COLLAGE, args=[rerank.pk])
    assert client.get(address).status_code == 302
    assert staff().get(address).status_code == 403


def test_nobody_adds_changes_or_deletes_a_receipt(admin_client, rerank):
    assert admin_client.get(reverse("admin:shopsearch_rerank_add")).status_code == 403
    assert admin_client.post(reverse(DETAIL, args=[rerank.pk]), {"text": "other"}).status_code == 403
    assert admin_client.post(reverse("admin:shopsearch_rerank_delete", args=[rerank.pk])).status_code == 403
    assert Rerank.objects.get().text == "mug"


def test_a_long_list_takes_as_many_queries_as_a_short_one(
    admin_client, rerank, django_assert_max_num_queries
):
    for number in range(20):
        Rerank.objects.create(
            key=str(number),
            index=rerank.index,
            candidates=rerank.candidates,
            model="m",
            deadline_at=rerank.created_at,
        )
    with django_assert_max_num_queries(8):
        page(admin_client, LIST)
