"""How searches fare while somebody sends the worst file ten times a second: `python -m benchmarks.poison_stream`.

The demo as `make demo` runs it, a process each. Clients who wait for each answer search by words and by ordinary
pictures, by turns without and with the stream, so that both see the same machine. The stream comes from visitors of its
own, or no more than the throttle lets through would be decoded. Three files: the JPEG of 9.5 MB with as many notes as
fit that once took two minutes, one that is broken only at its end, and the largest progressive JPEG that is accepted.

Fails unless word searches keep 90 of 100 of their rate, and ordinary pictures are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator

from benchmarks import storm

RATE = 10.0
CLIENTS = 2
SHARE = 0.9


def files() -> Iterator[tuple[str, bytes]]:
    from PIL import Image

    from tests.images.floods import BLOCKS, flooded, segment

    notes = BLOCKS["JPEG"]["notes"]
    yield "notes without end", flooded("JPEG", notes, 9_500_000 // len(notes))
    long_note = segment(0xE1, b"Exif\0\0" + bytes(65_000))
    yield "long notes and no picture", b"\xff\xd8" + long_note * (9_500_000 // len(long_note))
    content = io.BytesIO()
    noise = Image.effect_noise((800, 500), 60).convert("RGB").resize((8000, 4999))
    noise.save(content, "JPEG", progressive=True, quality=60)
    yield "as many pixels as are accepted", content.getvalue()


class Sender(storm.Shoppers):
    """Sends one file, each time as another visitor."""

    def __init__(self, port: int, content: bytes) -> None:
        self.port = port
        self.content = content

    def _request(self, kind: str) -> bytes:
        body = (
            b"--" + storm.BOUNDARY + b'\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
            b"Content-Type: image/jpeg\r\n\r\n" + self.content + b"\r\n--" + storm.BOUNDARY + b"--\r\n"
        )
        headers = f"Host: 127.0.0.1\r\nX-Forwarded-For: 172.{random.randrange(2**20) % 255}.0.1\r\n"
        headers += (
            f"Connection: close\r\nContent-Type: multipart/form-data; boundary={storm.BOUNDARY.decode()}\r\n"
        )
        return f"POST /api/search/ HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def measure(port: int, seconds: float, rounds: int) -> list[str]:
    shoppers, found = storm.Shoppers(port), []
    await storm.in_turn(shoppers.search, CLIENTS, seconds)
    for name, content in files():
        sender = Sender(port, content)
        rates: dict[bool, list[float]] = {False: [], True: []}
        pictures: dict[bool, Counter[int]] = {False: Counter(), True: Counter()}
        sent: Counter[int] = Counter()
        for _ in range(rounds):
            for is_poisoned in (False, True):
                stream = (
                    asyncio.ensure_future(storm.by_the_clock(sender.search, RATE, seconds))
                    if is_poisoned
                    else None
                )
                begun = time.perf_counter()
                answers = await storm.in_turn(shoppers.search, CLIENTS, seconds)
                taken = time.perf_counter() - begun
                words = sum(each.kind == "words" and each.status == 200 for each in answers)
                rates[is_poisoned].append(words / taken)
                pictures[is_poisoned].update(each.status for each in answers if each.kind == "picture")
                if stream:
                    sent.update(each.status for each in await stream)
        calm, poisoned = (statistics.median(rates[each]) for each in (False, True))
        print(f"\n{name}, {len(content):,} bytes, {sum(sent.values())} sent, answers {dict(sent)}")
        print(f"words answered a second: {calm:.1f} without, {poisoned:.1f} with: {poisoned / calm:.0%}")
        for is_poisoned, which in ((False, "without"), (True, "with")):
            print(f"ordinary pictures {which}: {dict(pictures[is_poisoned])}", flush=True)
        if poisoned < SHARE * calm:
            found.append(f"{name}: words keep {poisoned / calm:.0%}")
        if not pictures[True][200]:
            found.append(f"{name}: no ordinary picture was answered")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each part")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    storm.against_demo(60, lambda port: measure(port, options.seconds, options.rounds))


if __name__ == "__main__":
    main()
