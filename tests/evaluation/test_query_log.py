"""The words of searches are kept only where the shop wants them and the shopper lets it; and nothing says who asked."""

import datetime
import threading

import pytest
from django.core.cache import cache
from django.db import OperationalError
from django.test import Client
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from shopsearch import tasks
from shopsearch.evaluation import query_log
from shopsearch.models import EvaluationQuery, Judgement
from tests.shop.pictures import RED, picture, product
from tests.shop.store import index_everything
from tests.storefront.test_widget import Elements

CONSENT = "/search/consent/"
INDEX = "shopsearch_productimage"


@pytest.fixture(autouse=True)
def _collecting(settings):
    cache.clear()
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "COLLECT_QUERIES": True, "THROTTLE_RATE": None}


@pytest.fixture
def shop(transactional_db):
    """The log is written by a thread of its own, which sees what is committed."""
    product(RED, title="red mug")
    index_everything()
    yield
    query_log.wait()


@pytest.fixture
def consenting(client):
    client.post(CONSENT, {"collect": "yes", "next": "/search/?q=mug"})
    return client


def kept():
    query_log.wait()
    return {query.text: query.times_asked for query in EvaluationQuery.objects.all()}


def test_nobody_is_asked_and_nothing_is_kept_unless_the_shop_says_so(shop, consenting, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "COLLECT_QUERIES": False}
    answer = consenting.get("/search/?q=mug")
    assert not Elements(answer.content.decode()).all("form", action=CONSENT)
    assert "Cookie" not in answer["Vary"]
    consenting.get("/api/search/?q=mug&collect=true")
    assert consenting.post(CONSENT, {"collect": "yes"}).status_code == 404
    assert kept() == {}


def test_nothing_is_kept_of_a_shopper_who_was_asked_and_said_nothing(shop, client):
    page = client.get("/search/?q=mug").content.decode()
    assert "let the shop keep the words of your searches" in page
    assert kept() == {}


def test_consent_is_a_first_party_cookie_for_a_year_and_leads_back_to_the_search(client):
    response = client.post(CONSENT, {"collect": "yes", "next": "/search/?q=mug"})
    assert (response.status_code, response["Location"]) == (303, "/search/?q=mug")
    cookie = response.cookies["shopsearch_collect"]
    assert (cookie["samesite"], cookie["max-age"], cookie["path"]) == ("Lax", 365 * 24 * 60 * 60, "/")
    assert cookie["httponly"]
    assert not cookie["domain"]


def test_with_consent_the_words_are_counted_and_the_same_control_takes_it_back(shop, consenting):
    page = Elements(consenting.get("/search/?q=Red++MUG").content.decode())
    assert page.all("button", name="collect", value="no")
    assert kept() == {"red mug": 1}
    consenting.post(CONSENT, {"collect": "no"})
    page = Elements(consenting.get("/search/?q=red+mug").content.decode())
    assert page.all("button", name="collect", value="yes")
    assert kept() == {"red mug": 1}


def test_no_foreign_page_consents_for_a_shopper():
    response = Client(enforce_csrf_checks=True).post(CONSENT, {"collect": "yes"})
    assert response.status_code == 403
    assert "shopsearch_collect" not in response.cookies


def test_the_page_has_the_token_that_consent_takes(shop):
    client = Client(enforce_csrf_checks=True)
    page = Elements(client.get("/search/?q=mug").content.decode())
    [token] = page.all("input", name="csrfmiddlewaretoken")
    response = client.post(CONSENT, {"collect": "yes", "csrfmiddlewaretoken": token["value"]})
    assert response.cookies["shopsearch_collect"].value == "yes"


@pytest.mark.parametrize(
    "target", ["https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)", ""]
)
def test_consent_leads_to_pages_of_the_shop_alone(client, target):
    assert client.post(CONSENT, {"collect": "yes", "next": target})["Location"] == "/search/"


def test_a_page_that_differs_by_consent_says_so_to_caches(shop, client):
    assert "Cookie" in client.get("/search/?q=mug")["Vary"]


def test_the_script_gets_the_control_with_the_results(shop, client):
    answer = client.get("/search/?q=mug", headers={"X-Shopsearch-Fragment": "results"})
    assert Elements(answer.content.decode()).all("form", action=CONSENT)


def test_the_api_keeps_words_only_where_its_caller_has_the_shoppers_consent(shop, client):
    client.get("/api/search/?q=mug")
    client.get("/api/search/?q=mug&collect=false")
    assert kept() == {}
    client.get("/api/search/?q=mug&collect=true")
    client.post("/api/search/", {"q": "mug", "collect": True}, content_type="application/json")
    assert kept() == {"mug": 2}
    assert (
        client.get("/api/search/?q=mug&collect=perhaps").json()["detail"] == "collect must be true or false."
    )


def test_one_text_is_one_row_with_its_language_and_its_day_and_nothing_that_says_who(shop, consenting):
    with translation.override("es"):
        for words in ("taza roja", "TAZA   roja", "ｔａｚａ roja"):
            query_log.collect(found(words))
    query_log.wait()
    [query] = EvaluationQuery.objects.all()
    assert (query.text, query.times_asked, query.language, query.index) == ("taza roja", 3, "es", INDEX)
    assert (query.source, query.asked_on, query.picture) == ("shopper", datetime.date.today(), None)
    fields = {field.name for field in EvaluationQuery._meta.get_fields()} - {"id", "judgements"}
    about = {
        "key",
        "index",
        "text",
        "picture",
        "language",
        "source",
        "times_asked",
        "times_weak",
        "asked_on",
        "created_on",
    }
    assert fields == about


def found(words, **more):
    from shopsearch.search.engine import search

    return search(words, **more)


def test_no_picture_is_kept_nor_words_that_mean_nothing_without_it_nor_further_pages(shop, consenting):
    consenting.post("/search/", {"q": "like this", "image": picture()})
    consenting.post("/api/search/", {"q": "like this", "image": picture(), "collect": "true"})
    consenting.post("/api/search/", {"image": picture(), "collect": "true"})
    consenting.get("/search/?q=mug&offset=1")
    consenting.get("/api/search/?q=mug&offset=1&collect=true")
    assert kept() == {}


def test_a_search_that_was_refused_is_not_kept(shop, consenting):
    assert consenting.get("/api/search/?q=mug&shape=round&collect=true").status_code == 400
    assert kept() == {}


@pytest.mark.parametrize(
    "text",
    [
        "joe@shop.example",
        "order of joe @ shop.example",
        "https://shop.example/reset?token=x",
        "www.shop.example",
        "call 555 123 4567",
        "+49 (0)30/1234-567",
        "4111 1111 1111 1111",
        "４１１１１１１１１１１１１１１１",
        "customer 1234567",
        "a" * 201,
        "12345",
        "€ 50",
        "",
    ],
)
def test_what_may_be_private_is_not_kept(text):
    assert not query_log.may_be_kept(EvaluationQuery.normalised(text))


@pytest.mark.parametrize(
    "text", ["red mug", "mug 350 ml", "iphone 15 case", "9 x 13 cm frame", "dress size 38-40", "杯子"]
)
def test_what_shops_are_asked_is_kept(text):
    assert query_log.may_be_kept(EvaluationQuery.normalised(text))


@given(
    st.text(),
    st.lists(st.sampled_from("0123456789"), min_size=7),
    st.sampled_from(["", " ", "-", ".", "/", ") ("]),
)
def test_a_long_number_is_seen_wherever_it_stands_and_however_it_is_grouped(text, digits, between):
    assert not query_log.may_be_kept(EvaluationQuery.normalised(f"{text} {between.join(digits)} mug"))


def test_a_shop_whose_log_is_full_keeps_counting_what_it_has(shop, consenting, monkeypatch):
    monkeypatch.setattr(query_log, "MAX_QUERIES", 1)
    for words in ("mug", "plate", "mug"):
        consenting.get(f"/search/?q={words}")
    assert kept() == {"mug": 2}


def test_a_search_does_not_wait_for_its_words_to_be_kept_nor_fail_with_it(
    shop, consenting, monkeypatch, caplog
):
    """The database hangs until the search has been answered, and then refuses."""
    answered = threading.Event()

    def hang(batch):
        assert answered.wait(30)
        raise OperationalError("red mug cannot be written")

    monkeypatch.setattr(query_log, "_write", hang)
    response = consenting.get("/search/?q=red+mug")
    answered.set()
    assert response.status_code == 200
    assert kept() == {}
    assert "1 queries were not kept: OperationalError" in caplog.text
    assert "red mug cannot" not in caplog.text


def test_what_the_log_cannot_keep_up_with_is_dropped(monkeypatch):
    writer = query_log._Writer("test-query-log")
    monkeypatch.setattr(writer, "run", lambda: None)
    for number in range(query_log.MAX_WAITING + 5):
        writer.put(query_log.CollectedQuery(INDEX, f"mug {number}", "en"))
    assert writer.waiting.qsize() == query_log.MAX_WAITING


def test_an_error_of_the_log_is_not_the_searchs(shop, client, monkeypatch):
    monkeypatch.setattr(query_log, "may_be_kept", None)
    assert client.get("/api/search/?q=mug&collect=true").status_code == 200


@pytest.mark.django_db
def test_the_workers_purge_what_nobody_judged_or_asked_again_in_time():
    today = datetime.date.today()
    old, recent = today - datetime.timedelta(days=91), today - datetime.timedelta(days=90)

    def query(text, asked_on, source="shopper"):
        return EvaluationQuery.objects.create(index=INDEX, text=text, asked_on=asked_on, source=source)

    query("forgotten", old)
    query("recent", recent)
    query("ours", old, source="staff")
    Judgement.objects.create(query=query("judged", old), product_id="1", grade=3)
    tasks.sweep()
    assert set(EvaluationQuery.objects.values_list("text", flat=True)) == {"recent", "ours", "judged"}
