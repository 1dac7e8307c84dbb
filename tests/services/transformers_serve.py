"""A real ``transformers serve`` in a process of its own, with a tiny vision-language model of random weights."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest

from tests.services.milvus import free_port
from tests.services.waiting import wait_until

NEEDED = ("fastapi", "openai", "uvicorn")


@pytest.fixture(scope="session")
def transformers_serve(tmp_path_factory):
    """Its url, and the folder of its model, which is also the model's name."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"transformers serve needs {', '.join(missing)}; install requirements-dev.txt")
    from tests.rerankers import tiny_models

    folder = tiny_models.make("gemma3", tmp_path_factory.mktemp("served") / "gemma3")
    port = free_port()
    log = folder.parent / "log.txt"
    program = Path(sys.executable).with_name("transformers")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def answers():
        assert process.poll() is None, log.read_text()
        try:
            return urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
        except OSError:
            return None

    try:
        wait_until(answers, "transformers serve answers", 180).close()
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}/v1", folder=str(folder))
    finally:
        process.kill()
        process.wait()
