"""Metrics: counted where something happens, and read by whoever has the token."""

import io
import re

import pytest
import yaml
from django.core.files.base import ContentFile
from django.db import DatabaseError
from django.db.models.functions import Now
from django.urls import reverse
from PIL import Image
from prometheus_client import REGISTRY, CollectorRegistry

from shopsearch import tasks
from shopsearch.api import metrics
from shopsearch.exceptions import EmptyQuery, VectorStoreError
from shopsearch.models import Change, IndexEntry, ProductImage, Rerank
from shopsearch.search import reranking
from shopsearch.search.engine import search
from shopsearch.testing import MemoryStore
from tests import ROOT
from tests.api.prometheus import Since, value_in
from tests.shop.models import Product

URL = "/api/metrics/"
TOKEN = "a token of the tests"
INDEX = "shopsearch_productimage"


@pytest.fixture
def scrape(client, settings):
    """What Prometheus would read: ``scrape(name, label=value)``."""
    token = TOKEN.replace(" ", "-")
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "METRICS_TOKEN": token}

    def read(name, **labels):
        response = client.get(URL, headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == 200
        return value_in(response.content.decode(), name, **labels)

    return read


@pytest.fixture
def red_mug(db, png):
    product = Product.objects.create(title="red mug")
    return ProductImage.objects.create(product=product, image=ContentFile(png, "mug.png"))


@pytest.fixture
def png():
    content = io.BytesIO()
    Image.new("RGB", (32, 32), (220, 30, 30)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(autouse=True)
def _an_empty_store(settings, monkeypatch):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    monkeypatch.setattr(metrics, "_collector", metrics.DatabaseCollector())


def test_the_address_is_the_one_that_the_docs_give():
    assert reverse("shopsearch:api-metrics") == URL


def test_without_a_token_in_the_settings_there_is_nothing_to_read(client):
    response = client.get(URL, headers={"Authorization": "Bearer None"})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "given", ["", "Bearer ", "Bearer wrong", "0123456789abcdef", "bearer 0123456789abcdef\u00e9"]
)
def test_only_whoever_has_the_token_reads_them(client, settings, given):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "METRICS_TOKEN": "0123456789abcdef"}
    response = client.get(URL, headers={"Authorization": given})
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    assert client.post(URL, headers={"Authorization": "Bearer 0123456789abcdef"}).status_code == 405


def test_a_search_is_measured_by_stage(red_mug):
    tasks.index()
    stages = {
        stage: Since("shopsearch_search_seconds_count", stage=stage) for stage in ("embed", "store", "total")
    }
    database = Since("shopsearch_search_seconds_count", stage="database")
    assert len(search("red").results) == 1
    assert all(since == 1 for since in stages.values())
    assert database == 2  # the keys of what is shown, and the rows of the page


def test_a_search_that_fails_is_counted_by_the_stage_and_the_code(red_mug, monkeypatch):
    succeeded = Since("shopsearch_search_seconds_count", stage="total")
    refused = Since("shopsearch_search_failures_total", stage="total", code="empty_query")
    with pytest.raises(EmptyQuery):
        search("")
    assert refused == 1

    def away(*args, **kwargs):
        raise VectorStoreError

    monkeypatch.setattr(MemoryStore, "search", away)
    tasks.index()
    code = "vector_store_unavailable"
    by_stage = [
        Since("shopsearch_search_failures_total", stage=stage, code=code) for stage in ("store", "total")
    ]
    with pytest.raises(VectorStoreError):
        search("red")
    assert by_stage == [1, 1]
    assert succeeded == 0


def test_a_worker_counts_what_became_of_the_images(red_mug):
    product = red_mug.product
    ProductImage.objects.create(product=product, image=ContentFile(b"broken", "broken.png"))
    embedded = Since("shopsearch_indexed_images_total", outcome="embedded")
    failed = Since("shopsearch_indexed_images_total", outcome="failed")
    tasks.index()
    assert [embedded, failed] == [1, 1]
    unchanged = Since("shopsearch_indexed_images_total", outcome="unchanged")
    red_mug.save()
    tasks.index()
    assert [unchanged, embedded] == [1, 1]


def test_the_outbox_is_read_from_the_database(red_mug, scrape, monkeypatch):
    monkeypatch.setattr(metrics, "INDEXED_SECONDS", -1)
    assert scrape("shopsearch_outbox_oldest_waiting_seconds", index=INDEX) < 60
    Change.objects.update(available_at="2020-01-01T00:00Z")
    IndexEntry.objects.update(changed_at="2020-01-01T00:00Z")
    assert scrape("shopsearch_outbox_oldest_waiting_seconds", index=INDEX) > 100_000_000
    assert scrape("shopsearch_outbox_oldest_waiting_seconds", index="shop_artwork") == 0
    waiting = scrape("shopsearch_outbox_rows", index=INDEX, state="pending")
    waiting += scrape("shopsearch_outbox_changes", index=INDEX)
    assert waiting == 1
    tasks.index()
    assert scrape("shopsearch_outbox_rows", index=INDEX, state="indexed") == 1
    assert scrape("shopsearch_outbox_rows", index=INDEX, state="failed") == 0
    assert scrape("shopsearch_outbox_changes", index=INDEX) == 0
    assert scrape("shopsearch_outbox_oldest_waiting_seconds", index=INDEX) == 0


@pytest.mark.django_db
def test_the_count_of_indexed_rows_which_may_be_dear_is_not_taken_anew_at_each_scrape(
    scrape, django_assert_num_queries
):
    with django_assert_num_queries(8):
        scrape("shopsearch_outbox_rows", index=INDEX, state="indexed")
    with django_assert_num_queries(7):
        scrape("shopsearch_outbox_rows", index=INDEX, state="indexed")


@pytest.mark.django_db
def test_reranks_are_read_from_the_database_and_counted_by_who_ends_them(scrape, monkeypatch):
    values = {"index": INDEX, "candidates": [], "key": "k", "model": "m", "deadline_at": Now()}
    Rerank.objects.create(**values)
    Rerank.objects.create(**values, state="done", created_at="2020-01-01T00:00Z")
    assert scrape("shopsearch_reranks_last_hour", state="queued") == 1
    assert scrape("shopsearch_reranks_last_hour", state="done") == 0
    expired = Since("shopsearch_reranks_total", state="expired")
    assert reranking.expire() == 1
    assert expired == 1
    assert scrape("shopsearch_reranks_last_hour", state="expired") == 1
    done, repaired = (
        Since("shopsearch_reranks_total", state="done"),
        Since("shopsearch_rerank_repairs_total", kind="unseen"),
    )
    running = Rerank.objects.create(**{**values, "deadline_at": "2099-01-01T00:00Z"}, state="running")
    reranking._finish(running, state="done", repairs={"unseen": 3})
    assert [done, repaired] == [1, 3]


@pytest.mark.django_db
def test_a_database_that_is_away_leaves_the_other_metrics(scrape, monkeypatch):
    def away(*args):
        raise DatabaseError

    monkeypatch.setattr(metrics, "_rows_by_state", away)
    assert scrape("shopsearch_outbox_rows", index=INDEX, state="indexed") is None
    assert scrape("process_resident_memory_bytes") > 0


@pytest.mark.django_db
def test_an_endpoint_of_the_projects_own_shows_them_too(red_mug):
    registry = CollectorRegistry()
    registry.register(metrics.DatabaseCollector())
    assert registry.get_sample_value("shopsearch_outbox_rows", {"index": INDEX, "state": "failed"}) == 0
    assert "shopsearch_search_seconds" in {family.name for family in REGISTRY.collect()}


def test_no_metric_that_the_docs_name_is_missing_and_none_is_left_out(db):
    families = [*REGISTRY.collect(), *metrics.DatabaseCollector().collect()]
    ours = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in families
        if family.name.startswith("shopsearch_")
    }
    page = (ROOT / "docs/operations.md").read_text()
    assert set(re.findall(r"^\| `(shopsearch_\w+)` \|", page, re.M)) == ours
    used = set(re.findall(r"shopsearch_[a-z_]+(?=[{)\[ ]| >)", page)) - {"shopsearch_status"}
    assert {name.removesuffix("_bucket") for name in used} <= ours


def test_the_examples_for_prometheus_are_yaml():
    page = (ROOT / "docs/operations.md").read_text()
    probes, jobs, alerts = (
        yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    )
    assert probes["livenessProbe"]["httpGet"]["path"] == reverse("shopsearch:api-health-live")
    assert probes["readinessProbe"]["httpGet"]["path"].startswith(reverse("shopsearch:api-health-ready"))
    assert jobs["scrape_configs"][0]["metrics_path"] == URL
    assert all({"alert", "expr", "annotations"} <= rule.keys() for rule in alerts["groups"][0]["rules"])
