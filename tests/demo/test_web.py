"""The demo's web server: static files, and nothing beside them."""

import http.client
import os
import subprocess
import sys

import pytest

from tests import ROOT

PROGRAM = """
import django; django.setup()
from demo_project.web import make_server
server = make_server(0)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    server = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "demo_project.settings",
            "SHOPSEARCH_DEMO_DIR": str(folder),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    yield int(server.stdout.readline())
    server.terminate()
    server.communicate()


def status(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    return connection.getresponse().status


def test_a_static_file_is_served(port):
    assert status(port, "/static/pictures/leopard.jpg") == 200


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
