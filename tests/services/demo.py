"""The demo, started as a user starts it: `manage.py demo` in a folder of its own."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import redis

from tests import ROOT
from tests.services.milvus import free_port
from tests.services.waiting import wait_until

FOLDER_VARIABLE = "SHOPSEARCH_DEMO_DIR"


def environment_of(folder):
    """What a demo that keeps everything in this folder sees; nothing of the tests' own settings."""
    ours = {
        "DJANGO_SETTINGS_MODULE": "demo_project.settings",
        FOLDER_VARIABLE: str(folder),
        "PYTHONPATH": str(ROOT),
    }
    hidden = {"REDIS_URL", "DEMO_CACHE_URL", "SHOPSEARCH_MILVUS_URI", "SHOPSEARCH_QUERY_WORKER", "DEBUG"}
    return {name: value for name, value in os.environ.items() if name not in hidden} | ours


class Demo:
    """One run of the launcher, with these variables in its environment."""

    def __init__(self, folder, *arguments, port=0, **variables):
        self.folder = Path(folder)
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}/"
        self.output = self.folder.parent / f"{self.folder.name}-{self.port}.txt"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--port", str(self.port), *arguments],
                cwd=ROOT,
                env=environment_of(folder) | variables,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def lines(self):
        return self.output.read_text().replace("\r", "\n").splitlines()

    def wait_until_ready(self):
        line = f"shopsearch demo ready: {self.address}"
        wait_until(lambda: line in self.lines or self.process.poll() is not None, "the demo is ready", 240)
        assert self.process.poll() is None, "\n".join(self.lines)

    def get(self, path):
        with urlopen(self.address + path, timeout=60) as response:
            return response.read().decode()

    def search(self, words):
        return json.loads(self.get(f"api/search/?q={words}"))["results"]

    def entries(self):
        """Of each picture: its state, and when it was indexed last."""
        with sqlite3.connect(self.folder / "shop.sqlite3") as database:
            return database.execute(
                "SELECT image_id, state, indexed_at FROM shopsearch_indexentry"
            ).fetchall()

    def processes(self):
        """Every process that belongs to this demo's folder, the launcher included, by id, with its command."""
        mark = f"{FOLDER_VARIABLE}={self.folder}".encode()
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                # Redis writes its title over its environment, but works in the folder.
                ours = (entry / "cwd").readlink() == self.folder
                if ours or mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it ended while we looked, or is not ours
        return found

    def with_torch(self):
        """What was started of those processes that have PyTorch in memory, in two words."""
        commands = self.processes()
        held = {pid: (Path("/proc") / str(pid) / "maps").read_text() for pid in commands}
        words = {pid: commands[pid].split()[1:3] for pid, maps in held.items() if "libtorch" in maps}
        return {" ".join(pair).removeprefix(f"{ROOT}/") for pair in words.values()}

    def shared_keys(self, beginning):
        """Those of Django's cache in the demo's Redis."""
        addresses = json.loads((self.folder / "addresses.json").read_text())
        with redis.from_url(addresses["cache_url"]) as client:
            return list(client.scan_iter(f"*{beginning}*"))

    def stop(self, number=signal.SIGTERM):
        """The launcher's exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=90)

    def clear(self):
        """Whatever a failing test left behind."""
        self.process.kill()
        self.process.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
