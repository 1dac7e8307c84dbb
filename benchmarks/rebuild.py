"""A rebuild for another model under load, killed in the middle: `python -m benchmarks.rebuild [--images 20000]`.

`--standalone` uses a Milvus standalone instead of Milvus Lite's server, which computes in Python.

While `shopsearch_reindex --rebuild --here` runs, is killed with -9 halfway and runs again, four processes together make
20 searches a second and one makes 20 writes. It counts failed searches, searches that missed a product that was there
all the time (as in a half-full collection), differences between the shop and the new collection at the end, and
pictures that were embedded twice. Peak memory is that of the command that was not killed. Real processes, a Milvus
server, SQLite; pictures of random blocks, and an embedder that costs almost nothing, to stress everything else. The
shop is filled in bulk, without the outbox. A rebuild yields to writes: if they come faster than the machine indexes, it
does not end. The results are in docs/why.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
STABLE = 4
"""All but one in so many products are there all the time; those are changed and deleted."""
AT_ONCE = 32
"""Pictures in one call of the embedder: a kill costs no more than these."""
ASKERS = 4
"""Processes that search, each for its share: one that waits for an answer asks nothing meanwhile."""
PRELUDE = "import django; django.setup();"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--rate", type=int, default=20, help="Searches a second, and writes a second.")
    parser.add_argument("--standalone", action="store_true", help="Milvus 2.3.5 of the package milvus.")
    options = parser.parse_args()
    for images in options.images:
        with tempfile.TemporaryDirectory() as folder:
            with _standalone(Path(folder)) if options.standalone else _lite(Path(folder)) as store:
                report = measure(images, options.rate, Path(folder), store)
            print(json.dumps(report, indent=2), flush=True)


@contextmanager
def _lite(folder: Path) -> Iterator[dict[str, Any]]:
    from tests.services.milvus import MilvusLiteProcess

    server = MilvusLiteProcess(folder / "milvus").start()
    yield {
        "BACKEND": "shopsearch.vector_stores.milvus.MilvusStore",
        "OPTIONS": {"uri": server.uri},
    }
    server.stop()


@contextmanager
def _standalone(folder: Path) -> Iterator[dict[str, Any]]:
    from tests.services.milvus_standalone import MilvusStandaloneProcess

    server = MilvusStandaloneProcess(folder).start()
    yield {
        "BACKEND": "tests.vector_stores.test_milvus_standalone.OldMilvusStore",
        "OPTIONS": {"uri": server.uri, "token": server.token, "full_text": False},
    }
    server.kill()


def measure(images: int, rate: int, folder: Path, store: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    colour = {"BACKEND": "shopsearch.testing.ColourEmbedder"}
    _call("fill", folder, _settings(store, folder, colour), str(images))
    indexed = time.monotonic()
    after = _settings(store, folder, _logged(folder / "embedded"), former=colour)
    asking = _settings(store, folder, _logged(folder / "asked"), former=colour)
    volatile = str(images // STABLE)
    load = [_start("write", folder, after, volatile, str(rate))]
    for number in range(ASKERS):
        load.append(_start("ask", folder, asking, volatile, str(rate / ASKERS), str(number)))
    (folder / "embedded").touch()
    command = _start("rebuild", folder, after)
    while _cursor(folder / "db") < images // 2:
        if command.poll() is not None:
            raise RuntimeError("The rebuild ended before it could be killed.")
        time.sleep(0.05)
    command.send_signal(signal.SIGKILL)
    command.wait()
    in_hand = set(_lines(folder / "embedded")[-AT_ONCE:])
    again = time.monotonic()
    command = _start("rebuild", folder, after)
    _, status, usage = os.wait4(command.pid, 0)
    rebuilt = time.monotonic()
    (folder / "stop").touch()
    for process in load:
        process.wait()
    report = json.loads(_call("compare", folder, after))
    times = Counter(_lines(folder / "embedded"))
    twice = {picture for picture, count in times.items() if count > 1}
    return {
        "images": images,
        "searches a second wanted, and writes": rate,
        "seconds": {
            "filling the shop": round(indexed - began),
            "until killed": round(again - indexed),
            "from then on": round(rebuilt - again),
        },
        "exit code": os.waitstatus_to_exitcode(status),
        **_sums([json.loads((folder / f"ask-{number}.json").read_text()) for number in range(ASKERS)]),
        **json.loads((folder / "write.json").read_text()),
        **report,
        "pictures embedded": len(times),
        "pictures embedded twice": len(twice),
        "of these in the hands of the killed": len(twice & in_hand),
        "peak memory of the command in MB": round(usage.ru_maxrss / 1024, 1),
    }


def _sums(told: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(each[name] for each in told) for name in told[0]}


def _logged(log: Path) -> dict[str, Any]:
    options = {"log": str(log), "seconds": 0, "batch_size": AT_ONCE}
    return {"BACKEND": "tests.indexing.rebuilds.LoggedEmbedder", "OPTIONS": options}


def _settings(store: dict[str, Any], folder: Path, embedder: object, former: object = None) -> dict[str, str]:
    shopsearch = {
        "EMBEDDER": embedder,
        "FORMER_EMBEDDER": former,
        "VECTOR_STORE": store,
        "LEASE_SECONDS": 10,
        "QUERY_CACHE_SECONDS": 0,
    }
    options = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db"), "OPTIONS": options}
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "TEST_DATABASE": json.dumps(database),
        "TEST_MEDIA_ROOT": str(folder / "media"),
        "TEST_SHOPSEARCH": json.dumps(shopsearch),
    }


def _program(role: str, folder: Path, *arguments: str) -> list[str]:
    call = f"from benchmarks import rebuild_roles as roles; roles.{role}(*{[str(folder), *arguments]!r})"
    return [sys.executable, "-c", PRELUDE + call]


def _start(role: str, folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(_program(role, folder, *arguments), cwd=ROOT, env=environment)


def _call(role: str, folder: Path, environment: dict[str, str], *arguments: str) -> str:
    program = _program(role, folder, *arguments)
    return subprocess.run(
        program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _cursor(database: Path) -> int:
    """Up to which key the new collection was fed."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        [(cursor,)] = connection.execute("SELECT coalesce(max(cursor), 0) FROM shopsearch_collection")
    return int(cursor)


def _lines(path: Path) -> list[str]:
    return path.read_text().split()


if __name__ == "__main__":
    main()
