"""Five times as many searches as the shop can answer, for a minute: `python -m benchmarks.storm`.

The demo as `make demo` runs it: web server, query worker with the bundled model, Redis and Milvus Lite, each in its own
process. The query cache answers nothing, because every search has its own words or picture. One search in ten has a
picture, one in twenty comes from one greedy visitor, each other from a visitor of its own.

1. Unloaded: one search after the other.
2. Capacity: the most searches a second that are answered to clients who wait for each answer.
3. The storm: five times that rate, by the clock, however late the answers are.
4. Five seconds later: one after the other again.

Fails unless 95 of 100 answers in the storm take at most three times the unloaded time and the longest wait for a place,
all other searches get 429 or 503 with Retry-After, and the time afterwards is back to normal. Run it on a machine that
does nothing else; sending takes a tenth of a core.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

from tests.services.demo import Demo

KINDS = ("words", "picture")
PICTURES_SHARE, GREEDY_SHARE = 0.1, 0.05
PICTURES = 400
WORDS = (
    "red",
    "blue",
    "green",
    "striped",
    "dotted",
    "leopard",
    "floral",
    "mug",
    "plate",
    "lamp",
    "shoe",
    "case",
    "gift",
)
CLIENTS = (1, 2, 3, 4)
REFUSALS = (429, 503)
MAX_TIMES, MAX_TIMES_AFTER = 3.0, 1.5
MAX_WAIT_SECONDS = 1.0
"""As shopsearch.api.access has it."""
PATIENCE_SECONDS = 60.0
DICE = random.Random(7)
BOUNDARY = b"what-no-picture-has-in-it"


@dataclass(frozen=True, slots=True)
class Answer:
    kind: str
    status: int
    """0 where there was none."""
    seconds: float
    may_retry: bool
    late: float
    """By how much the request left later than it should: large where this program is the bottleneck."""


class Shoppers:
    """Who search at the demo's address."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pictures = [_picture(number) for number in range(PICTURES)]

    async def search(self, due: float = 0.0) -> Answer:
        kind = "picture" if DICE.random() < PICTURES_SHARE else "words"
        content = self._request(kind)
        begun = time.perf_counter()
        answer = b""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(content)
                await self._send_rest(writer)
                answer = await reader.read()
                writer.close()
        except OSError:
            pass
        ended = time.perf_counter()
        head = answer.partition(b"\r\n\r\n")[0].lower()
        status = int(head[9:12]) if head else 0
        return Answer(kind, status, ended - begun, b"\r\nretry-after: " in head, begun - due if due else 0.0)

    async def _send_rest(self, writer: asyncio.StreamWriter) -> None:
        """What ``_request`` leaves out."""

    def _request(self, kind: str) -> bytes:
        visitor = "192.0.2.1" if DICE.random() < GREEDY_SHARE else f"10.{DICE.randrange(2**24)}"
        headers = f"Host: 127.0.0.1\r\nX-Forwarded-For: {visitor}\r\nConnection: close\r\n"
        if kind == "words":
            words = " ".join(DICE.choices(WORDS, k=4))
            query = urlencode({"q": f"{words} {DICE.randrange(10**9)}"})
            return f"GET /api/search/?{query} HTTP/1.1\r\n{headers}\r\n".encode()
        body = (
            b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
            b"Content-Type: image/jpeg\r\n\r\n"
            + DICE.choice(self.pictures)
            + b"\r\n--"
            + BOUNDARY
            + b"--\r\n"
        )
        headers += f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n"
        headers += f"Content-Length: {len(body)}\r\n"
        return f"POST /api/search/ HTTP/1.1\r\n{headers}\r\n".encode() + body


def _picture(number: int) -> bytes:
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(coarse).resize((640, 480)).save(content, "JPEG")
    return content.getvalue()


async def in_turn(search: Callable[[], Awaitable[Answer]], clients: int, seconds: float) -> list[Answer]:
    """So many clients, each of whom waits for an answer before the next search."""
    answers: list[Answer] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        while time.perf_counter() < end:
            answers.append(await search())

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


async def by_the_clock(
    search: Callable[[float], Awaitable[Answer]], rate: float, seconds: float
) -> list[Answer]:
    """So many searches a second, at random moments, whether or not there are answers."""
    tasks = []
    due = begun = time.perf_counter()
    while due < begun + seconds:
        due += DICE.expovariate(rate)
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.ensure_future(search(due)))
    return await asyncio.gather(*tasks)


def quantile(answers: Sequence[Answer], kind: str, share: float) -> float:
    """Milliseconds of those that were answered."""
    taken = sorted(each.seconds for each in answers if each.kind == kind and each.status == 200)
    return taken[min(len(taken) - 1, int(len(taken) * share))] * 1_000 if taken else float("nan")


def row(name: str, answers: Sequence[Answer], seconds: float) -> str:
    """A line of the table."""
    statuses = Counter(each.status for each in answers)
    refused = sorted(each.seconds for each in answers if each.status in REFUSALS)
    times = " | ".join(f"{quantile(answers, kind, share):.0f}" for kind in KINDS for share in (0.5, 0.95))
    refusal = f"{refused[int(len(refused) * 0.95)] * 1_000:.0f}" if refused else "–"
    others = len(answers) - statuses[200] - statuses[429] - statuses[503]
    return (
        f"| {name} | {len(answers) / seconds:.0f} | {statuses[200] / seconds:.0f} | {times} | "
        f"{statuses[429]} | {statuses[503]} | {refusal} | {others} |"
    )


HEADER = """
| | asked a second | answered a second | words p50 | p95 | picture p50 | p95 | 429 | 503 | their p95 | other |
|---|---|---|---|---|---|---|---|---|---|---|"""


async def measure(port: int, seconds: float, factor: float) -> list[str]:
    """Prints the table, milliseconds; what was not as it should be."""
    shoppers = Shoppers(port)
    await in_turn(shoppers.search, 2, seconds / 10)
    print(HEADER, flush=True)
    calm = await in_turn(shoppers.search, 1, seconds / 2)
    print(row("unloaded", calm, seconds / 2), flush=True)
    capacity = 0.0
    for clients in CLIENTS:
        answers = await in_turn(shoppers.search, clients, seconds / 6)
        print(row(f"{clients} in turn", answers, seconds / 6), flush=True)
        capacity = max(capacity, sum(each.status == 200 for each in answers) / (seconds / 6))
    storm = await by_the_clock(shoppers.search, capacity * factor, seconds)
    print(row(f"storm, {factor:g} × {capacity:.0f}", storm, seconds), flush=True)
    await asyncio.sleep(5)
    after = await in_turn(shoppers.search, 1, seconds / 4)
    print(row("5 s later", after, seconds / 4), flush=True)
    late = sorted(each.late for each in storm)[int(len(storm) * 0.95)]
    print(f"\n95 of 100 requests of the storm left within {late * 1_000:.0f} ms of their moment.")
    return list(wrong(calm, storm, after))


def wrong(calm: Sequence[Answer], storm: Sequence[Answer], after: Sequence[Answer]) -> list[str]:
    found = []
    for kind in KINDS:
        before = quantile(calm, kind, 0.95)
        for name, answers, most, wait in (
            ("in the storm", storm, MAX_TIMES, MAX_WAIT_SECONDS),
            ("after it", after, MAX_TIMES_AFTER, 0.0),
        ):
            taken = quantile(answers, kind, 0.95)
            times = f"{kind} {name}: {taken / before:.2f} ×"
            print(f"{times} the unloaded p95; at most {most:g} × and {wait:g} s.")
            if not taken <= most * before + 1_000 * wait:
                found.append(times)
    refused = [each for each in storm if each.status != 200]
    if strange := Counter((each.kind, each.status) for each in refused if each.status not in REFUSALS):
        print(f"Other answers in the storm, 0 being none: {dict(strange)}.")
    without = sum(each.status not in REFUSALS or not each.may_retry for each in refused)
    print(f"{len(refused)} were turned away in the storm, {without} not by 429 or 503 with Retry-After.")
    if without or not refused:
        found.append(f"{without} of {len(refused)} refusals")
    if lost := sum(each.status != 200 for each in after):
        found.append(f"{lost} searches after the storm")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the storm lasts")
    parser.add_argument("--factor", type=float, default=5.0, help="so many times the capacity")
    parser.add_argument("--products", type=int, default=200)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    against_demo(options.products, lambda port: measure(port, options.seconds, options.factor))


def against_demo(products: int, measure: Callable[[int], Coroutine[Any, Any, list[str]]]) -> NoReturn:
    """Start a demo of so many products, measure at its port, stop it, and say what is not as it should be."""
    with tempfile.TemporaryDirectory(prefix="shopsearch-storm-") as folder:
        # Behind a proxy: else every shopper would have this machine's address, and be throttled as one visitor.
        demo = Demo(Path(folder) / "demo", "--products", str(products), DEMO_PROXIES="1")
        try:
            demo.wait_until_ready()
            found = asyncio.run(measure(demo.port))
            demo.stop()
        finally:
            demo.clear()
    print("\nNot as it should be: " + "; ".join(found) if found else "\nAll as it should be.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
