"""The demo's settings by its environment."""

import os
import subprocess
import sys

import pytest

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
