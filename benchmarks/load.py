"""Row 3: the demo under load, words alone, sixteen clients who wait for each answer: `python -m benchmarks.load`.

The demo as `make demo` runs it, a process each for web server, query worker, Redis and Milvus Lite, over the shop that
benchmarks/search_path.py drew. No search repeats another, and no visitor is throttled. It wants a machine that does
nothing else.
"""

from __future__ import annotations

import asyncio

from benchmarks import storm
from benchmarks.results import Row, report
from benchmarks.search_path import FOLDER
from tests.services.demo import Demo

CLIENTS = 16


def measure(quick: bool) -> list[Row]:
    storm.PICTURES_SHARE = 0.0
    storm.GREEDY_SHARE = 0.0
    seconds = 10.0 if quick else 60.0
    demo = Demo(FOLDER, DEMO_PROXIES="1")
    try:
        demo.wait_until_ready()
        alone, together = asyncio.run(_asked(storm.Shoppers(demo.port), seconds))
        demo.stop()
    finally:
        demo.clear()
    answered = [each for each in together if each.status == 200]
    rate = len(answered) / seconds
    p95 = storm.quantile(together, "words", 0.95)
    turned_away = len(together) - len(answered)
    return [
        Row(
            number="3",
            what=f"demo under load, words, {CLIENTS} clients",
            target="≥ 50 searches a second answered, p95 ≤ 150 ms, on two quiet cores",
            measured=f"{rate:.0f} a second, p95 {p95:.0f} ms; {turned_away / max(1, len(together)):.0%} were turned "
            f"away; one client alone: p50 {storm.quantile(alone, 'words', 0.5):.0f} ms",
            reached=rate >= 50 and p95 <= 150,
            why="Wall time of the whole demo: other work on the machine counts against it. Clients who never pause "
            f"wait {CLIENTS} / 50 s = 320 ms on average at 50 searches a second, so a p95 of 150 ms wants twice as many. "
            "A search takes about 30 ms of a processor: 18 in the web process, 8 in Milvus Lite, 3 in the query worker.",
            unit="ms",
            samples={
                "one client": [1_000 * each.seconds for each in alone if each.status == 200],
                f"{CLIENTS} clients": [1_000 * each.seconds for each in answered],
            },
        )
    ]


async def _asked(shoppers: storm.Shoppers, seconds: float) -> tuple[list[storm.Answer], list[storm.Answer]]:
    await storm.in_turn(shoppers.search, 2, 1.0)
    alone = await storm.in_turn(shoppers.search, 1, seconds / 5)
    return alone, await storm.in_turn(_patient(shoppers), CLIENTS, seconds)


def _patient(shoppers: storm.Shoppers):  # type: ignore[no-untyped-def]
    """A client who is turned away does not come back at once."""

    async def search() -> storm.Answer:
        answer = await shoppers.search()
        if answer.status != 200:
            await asyncio.sleep(0.05)
        return answer

    return search


if __name__ == "__main__":
    report(measure)
