"""Which embedder answers shoppers: the choice, its checks, and a web process that needs no torch."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from celery import Celery
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from shopsearch.backends import get_query_embedder
from shopsearch.checks.settings import check_backends, check_settings
from shopsearch.embedders.remote.embedder import WorkerEmbedder
from shopsearch.exceptions import EmbedderError
from shopsearch.testing import ColourEmbedder
from shopsearch.types import Query
from tests import ROOT
from tests.services.query_worker import WORKER_EMBEDDER, QueryWorkerProcess

BUNDLED = {"BACKEND": "shopsearch.embedders.visualized_bge.VisualizedBGE", "OPTIONS": {}}


def test_a_query_embedder_of_another_space_is_refused(settings):
    other = {"BACKEND": "shopsearch.testing.ColourEmbedder", "OPTIONS": {"space": "another"}}
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "QUERY_EMBEDDER": other}
    with pytest.raises(ImproperlyConfigured, match="in the space another, EMBEDDER in colour"):
        get_query_embedder()


def with_worker(settings, **options):
    worker = {"BACKEND": WORKER_EMBEDDER, "OPTIONS": options}
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "QUERY_EMBEDDER": worker}


def test_a_worker_embedder_needs_redis_and_check_says_so(settings):
    with_worker(settings)
    [message] = check_backends()
    assert message.id == "shopsearch.E030"
    assert "OPTIONS" in message.msg
    assert "QUERY_EMBEDDER to None" in message.msg


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout_seconds": 0},
        {"most_waiting": 0},
        {"batch_size": 0},
        {"picture_side": 4000},
        {"queue": ""},
        {"url": "http://x"},
    ],
    ids=str,
)
def test_a_wrong_option_of_the_query_embedder_is_E030(settings, wrong):
    with_worker(settings, **{"url": "redis://127.0.0.1:1/0"} | wrong)
    assert [message.id for message in check_backends()] == ["shopsearch.E030"]


def test_right_options_pass_the_checks_and_a_misspelt_one_is_E003(settings):
    with_worker(settings, url="unix:///run/redis.sock?db=1")
    assert [*check_settings(), *check_backends()] == []
    with_worker(settings, timeout=1)
    [message] = check_backends()
    assert message.id == "shopsearch.E003"
    assert "timeout_seconds" in message.hint
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "QUERY_EMBEDDER": "shopsearch.embedders.remote"}
    assert [message.id for message in check_settings()] == ["shopsearch.E006"]


def test_celerys_broker_is_the_redis_unless_another_is_named(monkeypatch):
    app = Celery("shop", broker="redis+socket:///tmp/r.sock?virtual_host=2", set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": "shop:"}
    monkeypatch.setattr("celery.current_app", app)
    ours, other = WorkerEmbedder(), WorkerEmbedder(url="redis://other/0")
    ours.bind(ColourEmbedder())
    other.bind(ColourEmbedder())
    assert (ours.requests.url, ours.requests.name) == ("unix:///tmp/r.sock?db=2", "shop:shopsearch-query")
    assert (other.requests.url, other.requests.name) == ("redis://other/0", "shopsearch-query")


def test_queries_for_the_former_models_collection_go_to_its_own_workers(settings):
    spaces = [
        {"BACKEND": "shopsearch.testing.ColourEmbedder", "OPTIONS": {"space": name}}
        for name in ("new", "old")
    ]
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "EMBEDDER": spaces[0],
        "FORMER_EMBEDDER": spaces[1],
        "QUERY_EMBEDDER": {
            "BACKEND": "shopsearch.embedders.remote.WorkerEmbedder",
            "OPTIONS": {"url": "redis://other/0"},
        },
        "QUERY_CACHE_SECONDS": 0,
    }
    former, present = get_query_embedder("old"), get_query_embedder("new")
    assert [type(each) for each in (former, present)] == [WorkerEmbedder, WorkerEmbedder]
    assert (former.requests.space, present.requests.space) == ("old", "new")
    assert get_query_embedder() is present
    with pytest.raises(EmbedderError, match="FORMER_EMBEDDER"):
        get_query_embedder("older")


def test_a_worker_for_the_former_model_needs_one():
    with pytest.raises(CommandError, match="FORMER_EMBEDDER"):
        call_command("shopsearch_query_worker", former=True, skip_checks=True)


def test_the_worker_says_what_to_set_where_the_web_processes_embed_themselves():
    with pytest.raises(CommandError, match="QUERY_EMBEDDER"):
        call_command("shopsearch_query_worker", skip_checks=True)


WEB_PROCESS = """
import io, json, sys
import tests.services.celery
import django; django.setup()
from django.core.management import call_command
from django.test import Client
from PIL import Image
from shopsearch.indexing import collections
from shopsearch.backends import get_query_embedder, get_vector_store, schema_of
from shopsearch.registry import index_for
from shopsearch.models import ProductImage
from shopsearch.types import Entity, Query
from tests.shop.pictures import BLUE, RED, product
call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)
index, store, pictures = index_for(ProductImage), get_vector_store(), {}
collection = collections.begin_live(index, "default").name
store.ensure_collection(collection, schema_of(index))
for title, colour in (("red", RED), ("blue", BLUE)):
    image = product(colour, title=title).images.get()
    pictures[title] = Image.new("RGB", (400, 300), colour)
    [vector] = get_query_embedder().embed([Query(image=pictures[title])])
    entity = Entity(
        id=f"{image.pk:032x}", image_id=str(image.pk), product_id=str(image.product_id),
        vector=vector, fields=dict.fromkeys(index.filter_types),
    )
    store.upsert(collection, [entity])
file = io.BytesIO(); pictures["blue"].save(file, "PNG"); file.name = "blue.png"; file.seek(0)
client = Client()
found = [client.get("/api/search/?q=a+red+mug"), client.post("/api/search/", {"image": file})]
titles = [[each["product"]["title"] for each in answer.json()["results"]] for answer in found]
heavy = sorted({"torch", "transformers", "FlagEmbedding"} & set(sys.modules))
print(json.dumps({"titles": titles, "heavy": heavy}))
"""


@pytest.mark.services
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_a_web_process_answers_searches_without_torch(redis_server, tmp_path):
    worker = QueryWorkerProcess(tmp_path / "log", redis_server.url, embedder=BUNDLED, timeout_seconds=30)
    worker.start()
    environment = {
        "TEST_DATABASE": json.dumps({"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")})
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", WEB_PROCESS],
            cwd=ROOT,
            env=os.environ | worker.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        worker.kill()
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["heavy"] == []
    assert sorted(answer["titles"][0]) == ["blue", "red"]
    assert answer["titles"][1] == ["blue", "red"]


@pytest.mark.services
def test_queries_travel_over_a_redis_with_a_password(redis_with_password, tmp_path):
    worker = QueryWorkerProcess(tmp_path / "log", redis_with_password.url, timeout_seconds=30).start()
    try:
        embedder = WorkerEmbedder(url=redis_with_password.url, timeout_seconds=30)
        embedder.bind(ColourEmbedder())
        assert (
            embedder.embed([Query(text="red")]).tolist()
            == ColourEmbedder().embed([Query(text="red")]).tolist()
        )
        uninvited = WorkerEmbedder(url=f"redis://:a-wrong-secret@127.0.0.1:{redis_with_password.port}/0")
        uninvited.bind(ColourEmbedder())
        with pytest.raises(EmbedderError) as caught:
            uninvited.embed([Query(text="red")])
        assert "a-wrong-secret" not in f"{caught.value} {caught.value.__cause__}"
    finally:
        worker.kill()
