"""The demo's web servers, gunicorn's and the one of a single process: static files, and nothing beside them."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from django.contrib.staticfiles import finders

from demo_project import web
from demo_project.static_files import FOR_GOOD, VersionedStaticFiles
from shopsearch.conf import DEFAULTS
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


def test_an_address_may_be_as_long_as_the_longest_query_makes_it(port):
    longest = quote("\N{MOUNTAIN BICYCLIST}" * DEFAULTS["MAX_QUERY_CHARACTERS"])
    assert status(port, f"/static/pictures/leopard.jpg?q={longest}") == 200


def test_cookies_of_whatever_else_runs_on_this_machine_are_no_fault_of_a_request(port):
    cookies = {"Cookie": "; ".join(f"theirs{number}={'a' * 4000}" for number in range(10))}
    assert answer(port, "/static/pictures/leopard.jpg", cookies).status == 200


def test_a_process_that_loads_the_project_itself_has_loaded_it_before_the_model_is_prepared():
    """As on macOS: Linux' processes have it from their parent."""
    program = """
import sys
from django.apps import apps
from demo_project import web
web.preload_app = False
web._prepare = lambda: print(apps.ready, flush=True)
from gunicorn.app.wsgiapp import run
sys.argv = ["gunicorn", "--config", "python:demo_project.web", "--workers", "1", "--bind", "127.0.0.1:0"]
run()
"""
    server = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "True\n"
    finally:
        server.terminate()
        server.communicate()


def test_what_is_loaded_first_leaves_logging_and_environment_as_they_are(tmp_path):
    """A plain import of pymilvus reads the passwords in .env, and has handlers of its own."""
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=secret")
    program = """
import logging, os, sys
from demo_project import web
web.application()
assert "pymilvus" in sys.modules
print(os.environ.get("POSTGRES_PASSWORD"), logging.getLogger("pymilvus").handlers)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SHOPSEARCH_DEMO_DIR": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "demo_project.settings",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "None []\n"


@pytest.fixture
def request_of():
    """A function that makes the request of a client who sends these bytes of a body, and then nothing, and stays."""
    server, client = socket.socketpair()
    received = server.makefile("rb", buffering=0)

    def request_of(sent):
        client.sendall(sent)
        return {"wsgi.input": received, "gunicorn.socket": server}

    yield request_of
    for each in (received, server, client):
        each.close()


def test_a_client_who_stops_sending_holds_a_thread_for_a_while_and_is_answered(monkeypatch, request_of):
    monkeypatch.setattr(web, "STALL_SECONDS", 0.01)
    assert web.received(lambda environ, start_response: [b"no"])(request_of(b"half"), None) == [b"no"]


def test_an_application_that_reads_a_body_does_not_wait_for_ever_either(monkeypatch, request_of):
    monkeypatch.setattr(web, "STALL_SECONDS", 0.01)

    def reads(environ, start_response):
        with pytest.raises(TimeoutError):
            environ["wsgi.input"].read(5)
        return [b"read"]

    assert web.received(reads)(request_of(b""), None) == [b"read"]


def test_a_body_that_never_ends_is_received_for_a_while(monkeypatch, request_of):
    monkeypatch.setattr(web, "STALL_SECONDS", 0.01)
    endless = request_of(b"") | {"wsgi.input": SimpleNamespace(read=lambda size: b"a" * size)}
    assert web.received(lambda environ, start_response: [b"no"])(endless, None) == [b"no"]


def test_a_body_that_cannot_be_read_is_answered_so_that_what_the_answer_holds_is_closed(request_of):
    def broken(size):
        raise ValueError

    request = request_of(b"") | {"wsgi.input": SimpleNamespace(read=broken)}
    assert web.received(lambda environ, start_response: [b"no"])(request, None) == [b"no"]
