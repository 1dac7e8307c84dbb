"""What docs/privacy.md promises, row by row."""

import hashlib
import inspect
import io
import logging
import math
import re
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from PIL import Image

from shopsearch import tasks
from shopsearch.api import access
from shopsearch.embedders.remote.queue import QueryQueue
from shopsearch.evaluation import query_log
from shopsearch.models import EvaluationQuery, Judgement, Rerank
from shopsearch.search import engine, examples, reranking
from shopsearch.telemetry import metrics
from tests import ROOT
from tests.hostile.pictures import noise, saved
from tests.services.waiting import wait_until
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import IMAGES, index_everything

WORDS = "crimson mug for aunt matilda"
ADDRESS = "203.0.113.77"

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(settings, monkeypatch):
    """Three products, and an empty cache."""
    # One large picture comes right after the other.
    monkeypatch.setattr(access, "LARGE_BURST_SECONDS", math.inf)
    cache.clear()
    for title, colour in (("red mug", RED), ("green mug", GREEN), ("blue mug", BLUE)):
        product(colour, title=title)
    index_everything()
    yield settings
    cache.clear()


def ask(client, picture=None, *, at="/api/search/", **parameters):
    """A search by picture, or by the words above."""
    headers = {"X-Shopsearch-Fragment": "results"}
    if picture is None:
        response = client.get(at, {"q": WORDS, **parameters}, REMOTE_ADDR=ADDRESS, headers=headers)
    else:
        given = {"image": SimpleUploadedFile("at home.png", picture), **parameters}
        response = client.post(at, given, REMOTE_ADDR=ADDRESS, headers=headers)
    assert response.status_code == 200, response.content
    return response


def test_every_row_of_the_document_names_a_test_that_is_here():
    rows = re.findall(r"^\| (?!what|---).*\|$", (ROOT / "docs/privacy.md").read_text(), re.MULTILINE)
    named = [re.findall(r"`(test_\w+)` \|$", row) for row in rows]
    here = {name for name in globals() if name.startswith("test_")}
    assert sorted(map("".join, named)) == sorted(here - {inspect.currentframe().f_code.co_name})


def test_an_uploaded_picture_is_never_written_to_a_file(shop, client, tmp_path, monkeypatch):
    shop.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    large = saved(Image.effect_noise((1200, 1000), 90).convert("RGB"), "PNG")
    assert len(large) > shop.FILE_UPLOAD_MAX_MEMORY_SIZE
    seen, normalised = [], examples.normalised

    def look(picture):
        seen.append(list(tmp_path.iterdir()))
        return normalised(picture)

    monkeypatch.setattr(examples, "normalised", look)
    ask(client, large)
    ask(client, large, at="/search/")
    assert seen
    assert not any(seen), "it lay in a file"
    assert list(tmp_path.iterdir()) == []


def test_what_is_searched_with_is_a_small_copy_without_metadata(shop):
    noisy = noise(size=(900, 600))
    noisy.info = {"exif": b"at home", "comment": b"at home"}
    found = engine.search(image=noisy).query.image
    assert (found.mode, found.size, found.info) == ("RGB", (448, 299), {})


def test_a_search_writes_no_file_to_any_storage(shop, client, monkeypatch):
    def files():
        found = Path(shop.MEDIA_ROOT).rglob("*")
        return {path: path.stat().st_mtime_ns for path in found if "sqlite3" not in path.name}

    before = files()
    monkeypatch.setattr(FileSystemStorage, "_save", lambda *args: pytest.fail("a file was written"))
    for content in (saved(noise(), "JPEG"), saved(noise(), "AVIF")):
        ask(client, content, rerank="true")
        ask(client, content, at="/search/")
    assert Rerank.objects.exists()
    reranking.answer_next()
    assert files() == before


def test_a_search_alone_writes_nothing_to_the_database(shop, client):
    with CaptureQueriesContext(
        connection,
    ) as queries:
        ask(client)
        ask(client, saved(noise(), "JPEG"))
        client.get(reverse("shopsearch:search"), {"q": WORDS})
    assert queries.captured_queries
    assert {query["sql"].split()[0] for query in queries.captured_queries} == {"SELECT"}


def test_an_answer_is_for_the_shopper_alone(shop, client):
    assert ask(client, saved(noise(), "JPEG"))["Cache-Control"] == "no-store"
    assert ask(client)["Cache-Control"] == "private, max-age=30"


def test_the_browser_keeps_the_picture_in_its_tab_alone():
    scripts = "".join(path.read_text() for path in (ROOT / "shopsearch/static").rglob("*.js"))
    assert "sessionStorage.setItem" in scripts
    assert not re.search(r"indexedDB|document\.cookie|caches\.open", scripts)


def test_recent_searches_stay_in_the_browser():
    scripts = {path.name: path.read_text() for path in (ROOT / "shopsearch/static").rglob("*.js")}
    assert [name for name, script in scripts.items() if "localStorage" in script] == ["suggest.js"]
    assert set(re.findall(r"localStorage\.\w+\(([^,)]*)", scripts["suggest.js"])) == {"RECENT"}
    assert re.findall(r"searchParams\.set\(\"(\w+)\"", scripts["suggest.js"]) == ["q", "index"]


def test_what_is_typed_is_not_kept(shop, client, django_assert_num_queries, caplog):
    client.get("/api/suggest/", {"q": WORDS})
    with CaptureQueriesContext(connection) as queries:
        answer = client.get("/api/suggest/", {"q": WORDS})
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}
    assert answer["Cache-Control"] == "no-store"
    assert WORDS not in caplog.text


@pytest.mark.parametrize("end", ["done", "failed", "expired"])
def test_the_picture_of_a_rerank_goes_when_the_rerank_ends(shop, client, end, monkeypatch):
    ask(client, saved(noise(), "JPEG"), rerank="true")
    assert Rerank.objects.get().picture
    if end == "failed":
        monkeypatch.setattr(reranking, "_judge", lambda rerank: 1 / 0)
    if end == "expired":
        Rerank.objects.update(deadline_at=Now() - timedelta(seconds=1))
        tasks.sweep()
    else:
        reranking.answer_next()
    rerank = Rerank.objects.get()
    assert (rerank.state, rerank.picture) == (end, None)


def purged(*arguments):
    out = io.StringIO()
    call_command("shopsearch_purge", *arguments, stdout=out)
    return out.getvalue()


def test_receipts_go_after_their_days_or_all_at_once(shop, client):
    ask(client, rerank="true")
    reranking.answer_next()
    ask(client, saved(noise(), "JPEG"), rerank="true")  # under way
    assert "receipts of reranks 0" in purged()
    Rerank.objects.filter(state="done").update(created_at=Now() - timedelta(days=29))
    tasks.sweep()
    assert Rerank.objects.count() == 2
    said = purged("--all")
    assert "receipts of reranks 1" in said
    assert "running: 1" in said
    Rerank.objects.update(deadline_at=Now() - timedelta(seconds=1), created_at=Now() - timedelta(days=31))
    tasks.sweep()
    assert Rerank.objects.count() == 0


def collected(text, days=0, **fields):
    query = EvaluationQuery.objects.create(index=IMAGES.name, text=text, **{"source": "shopper"} | fields)
    asked_on = query.created_on - timedelta(days=days)
    EvaluationQuery.objects.filter(pk=query.pk).update(asked_on=asked_on)
    return query


def judged(query, by=None):
    return Judgement.objects.create(query=query, product_id="1", grade=3, judged_by=by)


def test_collected_words_go_after_their_days_or_all_at_once(shop):
    collected("new")
    collected("old", days=91)
    judged(collected("old and judged", days=91))
    judged(collected("of staff", days=91, source="staff"))

    def left():
        return {query.text for query in EvaluationQuery.objects.all()}

    assert "collected queries 1" in purged()
    assert left() == {"new", "old and judged", "of staff"}
    assert "collected queries 2" in purged("--all")
    assert left() == {"of staff"}
    assert Judgement.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_consent_is_kept_by_the_shopper_alone(shop, client):
    shop.SHOPSEARCH = {**shop.SHOPSEARCH, "COLLECT_QUERIES": True}
    before = {model: model._default_manager.count() for model in apps.get_models()}
    response = client.post("/search/consent/", {"collect": "yes"})
    assert response.cookies["shopsearch_collect"]["max-age"] == 365 * 24 * 60 * 60
    assert {model: model._default_manager.count() for model in apps.get_models()} == before
    client.get("/search/", {"q": WORDS})
    query_log.wait()
    kept = EvaluationQuery.objects.values().get()
    assert (kept["text"], kept["picture"], kept["times_asked"]) == (WORDS, None, 1)
    assert ADDRESS not in str(kept)


def test_a_picture_that_staff_upload_is_kept_as_a_small_copy(shop, admin_client):
    upload = SimpleUploadedFile("x.png", saved(noise(size=(900, 600)), "PNG"))
    data = {"index": IMAGES.name, "text": "", "upload": upload}
    admin_client.post(reverse("admin:shopsearch_evaluationquery_add"), data)
    with Image.open(io.BytesIO(bytes(EvaluationQuery.objects.get().picture))) as kept:
        assert (kept.format, kept.size) == ("JPEG", (448, 299))


def test_a_judgement_outlives_the_account_and_names_nobody_then(shop):
    user = get_user_model().objects.create_user("matilda", is_staff=True)
    judgement = judged(collected("mug", source="staff"), by=user)
    user.delete()
    judgement.refresh_from_db()
    assert (judgement.judged_by, judgement.grade) == (None, 3)


@pytest.mark.services
def test_a_query_in_redis_is_gone_when_taken_and_goes_by_itself(redis_server):
    queue = QueryQueue(url=redis_server.url, name="query", space="colour", timeout_seconds=5)
    asking = threading.Thread(target=queue.ask, args=(b"a crimson mug", 30), daemon=True)
    asking.start()
    [(number, content)] = wait_until(lambda: queue.take(1), "the request has come")
    assert content == b"a crimson mug"
    with redis_server.client() as redis:
        assert redis.keys() == []
        queue.answer(number, b"a vector")
        asking.join(timeout=60)
        assert redis.keys() == []
        assert queue.ask(b"another", 0.5) is None  # there is no worker
        wait_until(lambda: redis.keys() == [], "nothing is left of it")


def test_celery_is_told_neither_words_nor_pictures_and_keeps_no_result():
    ours = {name: task for name, task in current_app.tasks.items() if name.startswith("shopsearch.")}
    assert {"shopsearch.index", "shopsearch.rerank"} <= ours.keys()
    for task in ours.values():
        assert not inspect.signature(task.run).parameters
        assert task.ignore_result


def test_the_cache_has_vectors_under_digests(shop, client):
    ask(client)
    ask(client, saved(noise(), "JPEG"))
    held = {key: value for key, value in cache._cache.items() if ":query:" in key}
    assert len(held) == 2
    for key, value in held.items():
        assert re.search(r":shopsearch:query:colour:[0-9a-f]{64}$", key)
        assert WORDS.encode() not in value
        assert 0 < cache._expire_info[key] - time.time() <= 3_600
    assert hashlib.sha256(WORDS.encode()).hexdigest() not in str(held), (
        "a digest of words alone can be guessed"
    )


def test_a_throttle_keeps_no_address(shop, client):
    shop.SHOPSEARCH = {**shop.SHOPSEARCH, "THROTTLE_RATE": "120/min"}
    ask(client)
    [key] = [key for key in cache._cache if "throttle" in key]
    guess = hashlib.sha256(ADDRESS.encode()).hexdigest()[:32]
    assert ADDRESS not in key
    assert guess not in key, "there are few enough addresses to try them all"
    assert 0 < cache._expire_info[key] - time.time() <= 120


def test_the_log_has_neither_words_nor_addresses(shop, client, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    ask(client, rerank="true")
    ask(client, saved(noise(), "JPEG"), q=WORDS, rerank="true")
    reranking.answer_next()
    monkeypatch.setattr(reranking, "_judge", lambda rerank: 1 / 0)
    reranking.answer_next()
    client.get("/api/search/", {"q": WORDS, "limit": "none"}, REMOTE_ADDR=ADDRESS)
    ours = (record for record in caplog.records if record.name.startswith("shopsearch"))
    written = " ".join(map(logging.Formatter().format, ours))
    assert "Rerank" in written
    assert not any(word in written for word in ("crimson", "matilda", ADDRESS))


def test_metrics_have_neither_words_nor_addresses(shop, client):
    prometheus = pytest.importorskip("prometheus_client")
    ask(client)
    ask(client, saved(noise(), "JPEG"), rerank="true")
    written = prometheus.generate_latest(metrics.registry()).decode()
    assert "shopsearch_search_seconds_count" in written
    assert not any(word in written for word in ("crimson", "matilda", ADDRESS))
