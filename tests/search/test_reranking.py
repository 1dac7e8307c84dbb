"""Reranking: every request ends in a final state by its deadline, with a permutation or with nothing."""

import io
import json
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.db.models.functions import Now
from PIL import Image

from shopsearch import broker
from shopsearch.conf import DEFAULTS
from shopsearch.exceptions import RerankerError
from shopsearch.indexing import batch
from shopsearch.models import Change, ProductImage, Rerank
from shopsearch.registry import index_for
from shopsearch.rerankers import Reranker
from shopsearch.search import reasons, reranking
from shopsearch.search.engine import search
from shopsearch.types import Fact, RerankerOutput
from tests.shop.models import Product

pytestmark = pytest.mark.django_db

SHADES = [(220, 30 + 12 * number, 30) for number in range(12)]


class Scripted(Reranker):
    """Answers what the test says, and remembers what it was shown."""

    model = "scripted"
    answer = RerankerOutput(labels=[2, 1])
    shown = ()

    def rerank(self, query, candidates):
        type(self).shown = (query, candidates)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def configure(settings):
    """Overrides a setting; the store in memory begins anew with that, so everything is indexed again."""

    def override(**options):
        settings.SHOPSEARCH = {**settings.SHOPSEARCH, **options}
        Change.objects.note_all(index_for(ProductImage))
        list(batch.index_pending())

    return override


@pytest.fixture
def shop(configure):
    """Twelve products whose reds fade with their number, and a reranker that says 3, 1, 2."""
    Scripted.answer = RerankerOutput(labels=[3, 1, 2])
    products = []
    for number, shade in enumerate(SHADES):
        product = Product.objects.create(title=f"mug {number}")
        content = io.BytesIO()
        Image.new("RGB", (32, 32), shade).save(content, "PNG")
        ProductImage.objects.create(product=product, image=ContentFile(content.getvalue(), "mug.png"))
        products.append(product)
    configure(RERANKER={"BACKEND": f"{__name__}.Scripted"}, RERANK_WEIGHT=1)
    return products


def asked(text="red", image=None, **options):
    return reranking.request(index_for(ProductImage), search(text, image, **options))


def overdue(rerank):
    Rerank.objects.filter(pk=rerank.pk).update(deadline_at=Now() - timedelta(seconds=1))


@pytest.mark.usefixtures("shop")
def test_a_request_is_queued_with_the_nine_leading_results():
    results = search("red")
    rerank = asked()
    assert rerank.state == "queued"
    assert [each["product"] for each in rerank.candidates] == [r.product.pk for r in results.results[:9]]
    assert rerank.order == []


@pytest.mark.usefixtures("shop")
def test_an_answer_is_a_permutation_of_what_was_retrieved():
    rerank = asked()
    retrieved = [each["product"] for each in rerank.candidates]
    assert reranking.answer_next()
    rerank = reranking.current(rerank.pk)
    assert rerank.state == "done"
    assert rerank.order == [retrieved[2], retrieved[0], retrieved[1], *retrieved[3:]]
    assert rerank.repairs == {"missing": 6}


@pytest.mark.usefixtures("shop")
def test_the_reranker_sees_the_query_and_the_candidates_pictures_and_words():
    asked("a mug", Image.new("RGB", (50, 20), (220, 30, 30)))
    reranking.answer_next()
    query, candidates = Scripted.shown
    assert (query.text, query.image.size) == ("a mug", (50, 20))
    assert len(candidates) == 9
    assert {candidate.text for candidate in candidates} <= {f"mug {number}" for number in range(12)}
    assert candidates[0].image.getpixel((5, 5))[0] == 220


@pytest.mark.usefixtures("shop")
def test_with_nothing_queued_there_is_nothing_to_answer():
    assert reranking.answer_next() is False


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    "answer", [RerankerError("The server is away."), RuntimeError("bug"), MemoryError(), KeyError("x")]
)
def test_a_reranker_that_raises_ends_in_failed(answer):
    Scripted.answer = answer
    rerank = asked()
    assert reranking.answer_next()
    rerank = reranking.current(rerank.pk)
    assert (rerank.state, rerank.order) == ("failed", [])
    assert type(answer).__name__ in rerank.error


@pytest.mark.usefixtures("shop")
def test_each_product_has_what_it_shares_with_the_search_where_the_reranker_says_so_of_each(client):
    colour, words = Fact(kind="colour", value="red"), Fact(kind="words", value="mug")
    Scripted.answer = RerankerOutput(labels=[3, 1, 2], facts=[[words, colour], [], *[[words]] * 7])
    rerank = asked()
    reranking.answer_next()
    first, second, third, *_others = (str(each["product"]) for each in rerank.candidates)
    shared = client.get(f"/api/reranks/{rerank.pk}/").json()["shared"]
    assert len(shared) == 9
    assert shared[first] == [
        {"kind": "colour", "value": "red", "label": "red"},
        {"kind": "words", "value": "mug", "label": "mug"},
    ]
    assert (shared[second], shared[third]) == ([], [{"kind": "words", "value": "mug", "label": "mug"}])
    Scripted.answer = RerankerOutput(labels=[3, 1, 2], facts=[[colour]])  # of one, but of which?
    rerank = asked("blue")
    reranking.answer_next()
    rerank = reranking.current(rerank.pk)
    assert (rerank.state, rerank.shared) == ("done", {})


ODD_FACTS = [
    None,
    5,
    ["a fact"] * 9,
    [None] * 9,
    [[Fact(kind="smell", value="mug")]] * 9,
    [[Fact(kind="words", value=b"mug")]] * 9,
    [[Fact(kind="looks", value="a\0b\ud800")]] * 9,
    [[Fact(kind="colour", value="\0")]] * 9,
    [[Fact(kind="words", value=float("nan"))]] * 9,
    [[Fact(kind="words", value=None), object()]] * 9,
]


@pytest.mark.usefixtures("shop")
def test_whatever_a_reranker_says_that_is_shared_the_order_stands_and_any_database_keeps_it():
    for number, facts in enumerate(ODD_FACTS):
        Scripted.answer = RerankerOutput(labels=[3, 1, 2], facts=facts)
        rerank = asked(f"mug {number}")
        assert reranking.answer_next()
        rerank = reranking.current(rerank.pk)
        assert rerank.state == "done"
        assert sorted(rerank.order) == sorted(each["product"] for each in rerank.candidates)
        kept = json.dumps([rerank.reasons, rerank.shared], ensure_ascii=False, allow_nan=False)
        assert "\\u0000" not in kept
        assert kept.encode()


@pytest.mark.usefixtures("shop")
def test_a_fault_in_the_reasons_costs_them_and_not_the_order(monkeypatch):
    facts = [[Fact(kind="looks", value="mug")]] * 9
    Scripted.answer = RerankerOutput(labels=[3, 1, 2], facts=facts)
    rerank = asked()
    monkeypatch.setattr(reasons, "_understands_operators", lambda index: 1 / 0)
    reranking.answer_next()
    rerank = reranking.current(rerank.pk)
    assert (rerank.state, rerank.reasons, rerank.shared) == ("done", [], {})
    assert rerank.order[0] == rerank.candidates[2]["product"]


@pytest.mark.usefixtures("shop")
def test_words_that_the_shops_code_cannot_give_cannot_be_left_out(monkeypatch):
    facts = [[Fact(kind="looks", value="mug")]] * 9
    Scripted.answer = RerankerOutput(labels=[3, 1, 2], facts=facts)
    rerank = asked()
    monkeypatch.setattr(reasons, "_understands_operators", lambda index: True)
    monkeypatch.setattr(type(index_for(ProductImage)), "get_words", lambda *args: 1 / 0)
    reranking.answer_next()
    [reason] = reranking.current(rerank.pk).reasons
    assert [each["action"] for each in reason["controls"]] == ["keep"]


@pytest.mark.usefixtures("shop")
def test_words_that_the_shops_code_cannot_give_do_not_bind_the_order(monkeypatch):
    Scripted.answer = RerankerOutput(labels=[3, 1, 2])
    rerank = asked()
    monkeypatch.setattr(type(index_for(ProductImage)), "words_field", True)
    monkeypatch.setattr(type(index_for(ProductImage)), "_texts_and_names", lambda *args: 1 / 0)
    reranking.answer_next()
    rerank = reranking.current(rerank.pk)
    assert rerank.state == "done"
    assert rerank.order[0] == rerank.candidates[2]["product"]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("labels", [None, "", "[", "no idea", [99], b"\xff", {"ranking": None}])
def test_an_answer_that_makes_no_sense_keeps_retrievals_order(labels):
    Scripted.answer = RerankerOutput(labels=labels)
    rerank = asked()
    reranking.answer_next()
    rerank = reranking.current(rerank.pk)
    assert (rerank.state, rerank.order) == ("done", [each["product"] for each in rerank.candidates])


@pytest.mark.usefixtures("shop")
def test_a_rerank_that_nobody_answers_expires_at_its_deadline():
    rerank = asked()
    overdue(rerank)
    assert reranking.current(rerank.pk).state == "expired"
    assert reranking.answer_next() is False


@pytest.mark.usefixtures("shop")
def test_a_rerank_whose_worker_died_expires_at_its_deadline():
    rerank = asked()
    Rerank.objects.filter(pk=rerank.pk).update(state="running", started_at=Now())
    overdue(rerank)
    assert reranking.current(rerank.pk).state == "expired"


@pytest.mark.usefixtures("shop")
def test_an_answer_that_comes_too_late_is_not_taken(monkeypatch):
    rerank = asked()
    monkeypatch.setattr(
        Scripted, "rerank", lambda self, query, candidates: overdue(rerank) or RerankerOutput(labels=[2])
    )
    assert reranking.answer_next()
    rerank = reranking.current(rerank.pk)
    assert (rerank.state, rerank.order) == ("expired", [])


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("end", ["done", "failed", "expired"])
def test_the_shoppers_picture_is_gone_at_the_end_whatever_it_is(end):
    Scripted.answer = RerankerError("away") if end == "failed" else RerankerOutput(labels=[1])
    rerank = asked("mug", Image.new("RGB", (50, 50), "red"))
    assert Rerank.objects.get(pk=rerank.pk).picture
    if end == "expired":
        overdue(rerank)
        reranking.expire()
    else:
        reranking.answer_next()
    rerank = Rerank.objects.get(pk=rerank.pk)
    assert (rerank.state, rerank.picture) == (end, None)


@pytest.mark.usefixtures("shop")
def test_a_repeated_query_is_answered_from_the_rerank_made_before():
    picture = Image.new("RGB", (50, 50), "red")
    first = asked("mug", picture)
    assert asked("mug", picture.copy()).pk == first.pk
    reranking.answer_next()
    assert asked("mug", picture).pk == first.pk
    assert asked("mug", picture).state == "done"


@pytest.mark.usefixtures("shop")
def test_another_picture_text_model_or_weight_is_another_rerank(configure, monkeypatch):
    picture = Image.new("RGB", (50, 50), "red")
    keys = {asked("mug", picture).key, asked("cup", picture).key, asked("mug").key}
    keys.add(asked("mug", Image.new("RGB", (50, 50), (254, 0, 40))).key)
    configure(RERANK_WEIGHT=0.5)
    keys.add(asked("mug", picture).key)
    monkeypatch.setattr(Scripted, "model", "another")
    keys.add(asked("mug", picture).key)
    monkeypatch.setattr(Scripted, "prompt_version", "2")
    keys.add(asked("mug", picture).key)
    assert len(keys) == 7


@pytest.mark.usefixtures("shop")
def test_a_failed_rerank_is_not_served_again():
    Scripted.answer = RerankerError("away")
    first = asked()
    reranking.answer_next()
    assert asked().pk != first.pk


def test_a_candidate_that_was_deleted_or_broken_meanwhile_stays_in_the_order_at_its_end(shop):
    rerank = asked()
    retrieved = [each["product"] for each in rerank.candidates]
    Product.objects.filter(pk=retrieved[0]).delete()
    broken = ProductImage.objects.get(product=retrieved[1])
    with broken.image.storage.open(broken.image.name, "wb") as file:
        file.write(b"no picture")
    reranking.answer_next()
    rerank = reranking.current(rerank.pk)
    # The reranker saw seven, of which the third, retrieval's fifth, is its best.
    assert rerank.order == [retrieved[4], *retrieved[2:4], *retrieved[5:], *retrieved[:2]]
    assert rerank.repairs["unseen"] == 2


def test_there_is_no_rerank_without_a_reranker_a_choice_or_beyond_the_first_page(shop, configure):
    assert asked("red", offset=3) is None
    assert asked("red", limit=1) is None
    configure(RERANKER=None)
    assert asked("red") is None


@pytest.mark.usefixtures("shop")
def test_a_search_is_answered_without_a_rerank_where_the_database_takes_no_row():
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")
        try:
            rerank = asked()
        finally:
            cursor.execute("PRAGMA query_only = OFF")
    assert rerank is None
    assert asked().state == Rerank.State.QUEUED


@pytest.mark.usefixtures("shop")
def test_what_a_model_writes_that_is_no_text_is_kept_as_text():
    Scripted.answer = RerankerOutput(labels=[3, 1, 2], reason="a\0b\ud800", caption="\udfff", raw="\0")
    rerank = asked()
    reranking.answer_next()
    rerank = Rerank.objects.get(pk=rerank.pk)
    assert (rerank.state, rerank.reason, rerank.caption, rerank.raw) == ("done", "ab?", "?", "")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(("weight", "reason"), [(1, "It is the reddest."), (0, "")])
def test_a_reason_is_given_only_when_it_speaks_for_the_product_that_stands_first(configure, weight, reason):
    configure(RERANK_WEIGHT=weight)
    Scripted.answer = RerankerOutput(labels=[3, 1, 2], reason="It is the reddest.")
    rerank = asked()
    reranking.answer_next()
    assert reranking.current(rerank.pk).reason == reason


@pytest.mark.usefixtures("shop")
def test_no_rerank_is_made_where_nobody_can_be_woken_to_answer_it(monkeypatch):
    monkeypatch.setattr(broker, "has_workers", lambda: False)
    assert asked() is None


@pytest.mark.usefixtures("shop")
def test_no_rerank_is_made_where_retrieval_is_sure(configure):
    leading = search("red").results[:9]
    spread = leading[0].score - leading[-1].score
    configure(RERANK_GATE=spread + 0.001)
    assert asked() is not None
    configure(RERANK_GATE=spread - 0.001)
    assert asked() is None


@pytest.mark.usefixtures("shop")
def test_receipts_are_kept_so_many_days_and_no_longer():
    rerank = asked()
    reranking.answer_next()
    assert reranking.purge() == 0
    Rerank.objects.filter(pk=rerank.pk).update(created_at=Now() - timedelta(days=31))
    assert reranking.purge() == 1


@pytest.mark.usefixtures("shop")
def test_the_oldest_request_is_answered_first():
    first, second = asked("red"), asked("green")
    reranking.answer_next()
    assert [reranking.current(each.pk).state for each in (first, second)] == ["done", "queued"]


@pytest.mark.usefixtures("shop")
def test_the_bundled_reranker_gives_a_reason_that_is_so(configure):
    configure(RERANKER=DEFAULTS["RERANKER"])
    rerank = asked("red mug", Image.new("RGB", (50, 50), SHADES[0]))
    reranking.answer_next()
    rerank = reranking.current(rerank.pk)
    assert rerank.state == "done"
    assert "“mug”" in rerank.reason
