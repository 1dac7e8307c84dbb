"""The base install answers searches: a web process without any model package, a query worker that has them.

SHOPSEARCH_BASE_PYTHON names the interpreter of a real base install (``pip install shopsearch``); without it the
packages of the extras are hidden from the web process.
"""

import io
import json
import os
import shutil
import subprocess
import sys

import httpx2
import pytest
from PIL import Image

from tests import ROOT
from tests.services.milvus import MilvusLiteProcess, free_port
from tests.services.query_worker import WORKER_EMBEDDER, QueryWorkerProcess
from tests.services.redis import RedisProcess
from tests.services.waiting import wait_until

pytestmark = [
    pytest.mark.services,
    pytest.mark.nightly,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]
BASE = os.environ.get("SHOPSEARCH_BASE_PYTHON", "")
EMBEDDER = {"BACKEND": "shopsearch.embedders.visualized_bge.VisualizedBGE"}

HIDE = """
from importlib.machinery import PathFinder
from shopsearch.conf import EXTRAS

def find(name, path=None, target=None, find=PathFinder.find_spec):
    return None if name.partition(".")[0] in EXTRAS else find(name, path, target)

PathFinder.find_spec = find
"""
WEB = """
import sys, django
from shopsearch.conf import EXTRAS, missing_packages
assert all(missing_packages(each) for each in EXTRAS), "a package of an extra is here"
django.setup()
from django.core.management import call_command, execute_from_command_line
call_command("check", fail_level="ERROR", tags=["shopsearch"])
execute_from_command_line(["manage.py", "runserver", "--noreload", sys.argv[1]])
"""
STOCK = """
import django
django.setup()
import json
from django.core.management import call_command
from PIL import Image
from shopsearch.search import search
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import index_everything

call_command("migrate", run_syncdb=True, verbosity=0)
for title, colour in (("red mug", RED), ("green mug", GREEN), ("blue mug", BLUE)):
    product(colour, title=title)
index_everything()
picture = Image.new("RGB", (64, 64), BLUE)
asked = {"text": ("a red square",), "picture": ("", picture), "composed": ("in green", picture)}
print(json.dumps({
    kind: [[each.product.pk, round(each.score, 3)] for each in search(*query).results]
    for kind, query in asked.items()
}))
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The address of the web process, and what the same searches find with the model in the process."""
    folder = tmp_path_factory.mktemp("shop")
    redis, milvus = RedisProcess().start(), MilvusLiteProcess(folder / "milvus")
    worker = QueryWorkerProcess(folder / "worker.log", redis.url, embedder=EMBEDDER)
    web = None
    try:
        milvus.start()
        store = {"BACKEND": "shopsearch.vector_stores.milvus.MilvusStore", "OPTIONS": {"uri": milvus.uri}}
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "shop.sqlite3")}
        common = {"EMBEDDER": EMBEDDER, "VECTOR_STORE": store, "THROTTLE_RATE": None, "RERANKER": None}
        by_worker = {"BACKEND": WORKER_EMBEDDER, "OPTIONS": {"url": redis.url, "timeout_seconds": 30}}

        def start(python, program, *arguments, **settings):
            environment = os.environ | {
                "DJANGO_SETTINGS_MODULE": "tests.services.settings",
                "PYTHONPATH": str(ROOT),
                "TEST_DATABASE": json.dumps(database),
                "TEST_MEDIA_ROOT": str(folder / "media"),
                "TEST_SHOPSEARCH": json.dumps(common | settings),
            }
            command = [python, "-c", program, *arguments]
            with (folder / f"{len(settings)}.log").open("wb") as log:
                return subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log
                )

        stocked, _ = start(sys.executable, STOCK).communicate(timeout=300)
        worker.start()
        address = f"127.0.0.1:{free_port()}"
        program = WEB if BASE else HIDE + WEB
        web = start(BASE or sys.executable, program, address, QUERY_EMBEDDER=by_worker)

        def is_up():
            assert web.poll() is None, (folder / "1.log").read_text()
            try:
                return httpx2.get(f"http://{address}/api/health/live/").status_code == 200
            except httpx2.TransportError:
                return False

        wait_until(is_up, "the web process answers")
        yield f"http://{address}", json.loads(stocked.splitlines()[-1])
    finally:
        if web is not None:
            web.terminate()
            web.wait()
        worker.kill()
        milvus.stop()
        redis.stop()


def picture(colour):
    content = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("kind", ["text", "picture", "composed"])
def test_words_pictures_and_both_find_what_they_find_with_the_model_in_the_process(shop, kind):
    address, expected = shop
    text = {"text": "a red square", "composed": "in green"}.get(kind)
    data = {"q": text} if text else {}
    files = {} if kind == "text" else {"image": ("blue.png", picture((40, 60, 210)), "image/png")}
    send = {"data": data, "files": files} if files else {"data": data}
    answer = httpx2.post(f"{address}/api/search/", timeout=60, **send)
    assert answer.status_code == 200, answer.text
    found = [[each["product"]["id"], round(each["score"], 3)] for each in answer.json()["results"]]
    assert [pk for pk, _score in found] == [pk for pk, _score in expected[kind]]
    assert [score for _pk, score in found] == pytest.approx(
        [score for _pk, score in expected[kind]], abs=0.002
    )


def test_health_says_that_the_embedder_answers(shop):
    parts = httpx2.get(f"{shop[0]}/api/health/ready/?exclude=broker", timeout=60).json()["parts"]
    assert parts["embedder"]["ready"], parts
    assert parts["vector_store"]["ready"], parts
