"""How searches fare while somebody sends the worst file ten times a second: `python -m benchmarks.poison_stream`.

The demo as `make demo` runs it, a process each. Two clients who wait for each answer search by words; a third sends
ordinary pictures by the clock, as many in every turn. The turns, in each round, so that all see the same machine:

- without: nothing else happens.
- sink: the stream goes to another process, which reads each post to its end and answers at once. What this costs the
  machine, sending and receiving the bytes, no server on it can save.
- with: the stream goes to the demo.

"with" is compared with "without", and with "sink". The system sends the posts out of its own memory (sendfile), so that
sending, which an attacker's own machine would pay for, takes 2 to 3 ms of this one for a post: that, and nothing else
but what the post costs the demo, lies between "without" and "with".

The stream comes from visitors of its own, or no more than the throttle lets through would be decoded. Three files: the
JPEG of 9.5 MB with as many notes as fit that once took two minutes, one that is broken only at its end, and the largest
progressive JPEG that is accepted.

Fails unless word searches keep 90 of 100 of their rate without the stream, and nine of ten ordinary pictures are
answered.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import multiprocessing
import random
import re
import socket
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from benchmarks import storm

RATE, PICTURES_RATE = 10.0, 1.0
CLIENTS = 2
SHARE = 0.9
TURNS = ("without", "sink", "with")
RECEIVED_AT_ONCE = 1 << 20


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


class Kind(storm.Shoppers):
    """Shoppers who all search by words, or all by pictures."""

    def __init__(self, port: int, kind: str) -> None:
        super().__init__(port)
        self.kind = kind

    def _request(self, kind: str) -> bytes:
        return super()._request(self.kind)


class Sender(storm.Shoppers):
    """Sends one file, each time as another visitor. The system sends the body from its own memory, by ``sendfile``."""

    def __init__(self, port: int, content: bytes) -> None:
        self.port = port
        self.body = tempfile.TemporaryFile()  # noqa: SIM115
        self.body.write(
            b"--" + storm.BOUNDARY + b'\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
            b"Content-Type: image/jpeg\r\n\r\n" + content + b"\r\n--" + storm.BOUNDARY + b"--\r\n"
        )
        self.body.flush()
        self.length = self.body.tell()

    def _request(self, kind: str) -> bytes:
        headers = f"Host: 127.0.0.1\r\nX-Forwarded-For: 172.{random.randrange(2**20) % 255}.0.1\r\n"
        headers += (
            f"Connection: close\r\nContent-Type: multipart/form-data; boundary={storm.BOUNDARY.decode()}\r\n"
        )
        return f"POST /api/search/ HTTP/1.1\r\n{headers}Content-Length: {self.length}\r\n\r\n".encode()

    async def _send_rest(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.get_running_loop().sendfile(writer.transport, self.body)


def sink(listening: socket.socket) -> None:
    """Reads each post to its end, one after the other, and answers."""
    buffer = bytearray(RECEIVED_AT_ONCE)
    while True:
        connection, _address = listening.accept()
        with connection:
            head = b""
            while b"\r\n\r\n" not in head and (part := connection.recv(65_536)):
                head += part
            names, _, begun = head.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", names)
            left = int(length[1]) - len(begun) if length else 0
            while left > 0 and (received := connection.recv_into(buffer)):
                left -= received
            connection.sendall(b"HTTP/1.1 503 Busy\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def sink_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        process = multiprocessing.get_context("fork").Process(target=sink, args=(listening,), daemon=True)
        process.start()
        try:
            yield listening.getsockname()[1]
        finally:
            process.kill()
            process.join()


@dataclass
class Turn:
    """What one kind of turn has seen, over all rounds."""

    rates: list[float] = field(default_factory=list)
    words: Counter[int] = field(default_factory=Counter)
    pictures: list[storm.Answer] = field(default_factory=list)
    stream: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    def row(self, name: str) -> str:
        statuses = Counter(each.status for each in self.pictures)
        median = storm.quantile(self.pictures, "picture", 0.5)
        return (
            f"| {name} | {self.rate:.1f} | {dict(self.words)} | {dict(statuses)} | {median:.0f} | "
            f"{dict(self.stream) or '–'} |"
        )


async def take(turn: Turn, words: Kind, pictures: Kind, sender: Sender | None, seconds: float) -> None:
    others = [asyncio.ensure_future(storm.by_the_clock(pictures.search, PICTURES_RATE, seconds))]
    if sender:
        others.append(asyncio.ensure_future(storm.by_the_clock(sender.search, RATE, seconds)))
    begun = time.perf_counter()
    answers = await storm.in_turn(words.search, CLIENTS, seconds)
    taken = time.perf_counter() - begun
    turn.words.update(each.status for each in answers)
    turn.rates.append(sum(each.status == 200 for each in answers) / taken)
    turn.pictures += [replace(each, kind="picture") for each in await others[0]]
    if sender:
        turn.stream.update(each.status for each in await others[1])


async def measure(port: int, seconds: float, rounds: int) -> list[str]:
    words, pictures, found = Kind(port, "words"), Kind(port, "picture"), []
    await storm.in_turn(words.search, CLIENTS, seconds)
    await storm.in_turn(pictures.search, 1, seconds)
    with sink_port() as elsewhere:
        for name, content in files():
            senders = {"without": None, "sink": Sender(elsewhere, content), "with": Sender(port, content)}
            turns = {each: Turn() for each in TURNS}
            for _ in range(rounds):
                for each, turn in turns.items():
                    await take(turn, words, pictures, senders[each], seconds)
            print(f"\n{name}, {len(content):,} bytes\n")
            print("| stream | words a second | answers | ordinary pictures | ms | stream's answers |")
            print("|---|---|---|---|---|---|")
            print("\n".join(turn.row(each) for each, turn in turns.items()))
            kept, sunk = (turns["with"].rate / turns[each].rate for each in ("without", "sink"))
            print(
                f"\nWords keep {kept:.0%}; {sunk:.0%} of what they keep with the stream to the sink.",
                flush=True,
            )
            if kept < SHARE:
                found.append(f"{name}: words keep {kept:.0%}")
            asked = turns["with"].pictures
            answered = sum(each.status == 200 for each in asked)
            if answered < SHARE * len(asked):
                found.append(f"{name}: {answered} of {len(asked)} ordinary pictures")
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
