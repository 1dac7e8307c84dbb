"""The demo's web servers, gunicorn's and the one of a single process: static files, and nothing beside them."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys

import pytest
from django.contrib.staticfiles import finders

from demo_project.static_files import FOR_GOOD, VersionedStaticFiles
from tests import ROOT
from tests.services.milvus import free_port
from tests.services.waiting import wait_until

ONE_PROCESS = """
import sys
import django; django.setup()
from demo_project.web import make_server
make_server(int(sys.argv[1])).serve_forever()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module", params=["gunicorn", "one process"])
def port(folder, request):
    port = free_port()
    gunicorn = ["-m", "gunicorn", "--config", "python:demo_project.web", "--bind", f"127.0.0.1:{port}"]
    server = subprocess.Popen(
        [sys.executable, *(gunicorn if request.param == "gunicorn" else ["-c", ONE_PROCESS, str(port)])],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "demo_project.settings",
            "SHOPSEARCH_DEMO_DIR": str(folder),
        },
    )
    wait_until(lambda: is_open(port) or server.poll() is not None, "the server listens")
    yield port
    server.terminate()
    server.wait()


def is_open(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def answer(port, path, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=dict(headers))
    return connection.getresponse()


def status(port, path):
    return answer(port, path).status


def test_a_static_file_is_served(port):
    assert status(port, "/static/pictures/leopard.jpg") == 200


def test_an_address_of_a_static_file_changes_with_its_content_and_is_kept_for_good(port):
    address = VersionedStaticFiles(base_url="/static/").url("shopsearch/widget.css")
    assert re.fullmatch(r"/static/shopsearch/widget\.css\?v=\w{12}", address)
    assert answer(port, address).headers["Cache-Control"] == FOR_GOOD
    assert answer(port, address.partition("?")[0]).headers["Cache-Control"] is None


def test_a_static_file_that_is_edited_has_another_address(tmp_path, monkeypatch):
    file = tmp_path / "a.css"
    monkeypatch.setattr(finders, "find", lambda name: str(file))
    storage = VersionedStaticFiles(base_url="/static/")
    file.write_text("a {}")
    first = storage.url("a.css")
    assert storage.url("a.css") == first
    file.write_text("b {}")
    os.utime(file, (1, 1))
    assert storage.url("a.css") != first


def test_a_picture_of_the_shop_is_not_sent_again_to_who_has_it(port, folder):
    (folder / "media").mkdir(exist_ok=True)
    (folder / "media" / "a.png").write_bytes(b"a picture")
    whole = answer(port, "/media/a.png")
    assert (whole.status, whole.read()) == (200, b"a picture")
    known = {"If-Modified-Since": whole.headers["Last-Modified"]}
    assert answer(port, "/media/a.png", known).status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/static/../manage.py",
        "/static/../../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/manage.py",
        "/static/pictures/../../../settings.py",
        "/static//etc/passwd",
        "/static/..%5c..%5cmanage.py",
        "/static/",
    ],
)
def test_whoever_climbs_out_of_the_static_files_finds_nothing(port, path):
    assert status(port, path) == 404


def test_who_sends_far_too_much_is_told_so_even_where_he_sends_it_all_before_he_reads(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(
        "POST", "/api/search/", b"a" * 30_000_000, {"Content-Type": "multipart/form-data; boundary=x"}
    )
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["code"]) == (400, "image_too_large")
