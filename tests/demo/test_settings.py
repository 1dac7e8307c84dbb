"""The demo's settings by its environment."""

import json
import os
import subprocess
import sys

import pytest

from demo_project import web
from shopsearch.conf import DEFAULTS
from tests import ROOT


@pytest.fixture
def read(tmp_path):
    """Reads the settings in a process of its own, and prints what ``expression`` gives."""

    def read(expression, **environment):
        return subprocess.run(
            [sys.executable, "-c", f"from demo_project import settings; print({expression})"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "SHOPSEARCH_DEMO_DIR": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return read


def test_the_drawn_shop_has_its_own_model_and_photographs_have_the_default_one(read):
    model = "settings.SHOPSEARCH.get('EMBEDDER', {}).get('BACKEND')"
    assert read(model).stdout == "shopsearch.embedders.visualized_bge.VisualizedBGE\n"
    assert read(model, DEMO_PHOTOGRAPHS="1").stdout == "None\n"


def test_without_debug_it_starts_only_with_a_secret_key(read):
    assert read("settings.DEBUG", DEBUG="0", SECRET_KEY="k").stdout == "False\n"
    refused = read("settings.DEBUG", DEBUG="0")
    assert refused.returncode != 0
    assert "DEBUG is off and there is no SECRET_KEY. Set one" in refused.stderr


def test_the_web_server_has_threads_for_all_searches_that_run_or_wait_and_some_for_pages(read):
    """By words, by pictures, to be decoded; and a large picture, and one that waits for it."""
    places = "settings.SHOPSEARCH['MAX_SEARCHES'], settings.SHOPSEARCH['MAX_WAITING_SEARCHES']"
    searches, waiting = json.loads(read(f"[{places}]").stdout)
    assert web.threads > searches + waiting * 3 + DEFAULTS["MAX_IMAGE_SEARCHES"] + 2
