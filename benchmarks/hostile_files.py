"""The worst that any of many damaged and made-up files costs in processor time and memory, decoded as the product does.

    python -m benchmarks.hostile_files [--files 10000] [--first 0]

Every file is made from its number, so one that was worst can be made again. Nine in ten are sound files of every
accepted format, and of TIFF, BMP and MPO, with bytes changed, cut, repeated or spliced; the others have floods of
blocks, directories and boxes, or headers that lie. Processor time counts this process and those that decode for it.
"""

import argparse
import io
import os
import random
import resource
import struct
import time
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

LIMIT = 9_500_000
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "MPO", "BMP", "TIFF"]


@cache
def samples():
    from PIL import Image

    from tests.hostile.pictures import noted, valid

    larger = []
    picture = Image.effect_noise((160, 120), 60).convert("RGB").resize((1200, 900))
    for kind, options in (
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("AVIF", {"speed": 10}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
    ):
        content = io.BytesIO()
        picture.save(content, kind, **options)
        larger.append(content.getvalue())
    return [*valid(), *noted().values(), *larger]


def made(number):
    """The file of this number: what it is, and its bytes."""
    from tests.hostile.pictures import mutated

    dice = random.Random(number)
    kind = dice.choices(("damaged", *MAKERS), weights=(90, *[10 / len(MAKERS)] * len(MAKERS)))[0]
    return (kind, mutated(dice, samples())) if kind == "damaged" else (kind, MAKERS[kind](dice)[:LIMIT])


def size_of(dice):
    """From a kilobyte to the limit, each order of magnitude as often."""
    return int(1_000 * (LIMIT / 1_000) ** dice.random())


def flood_of_blocks(dice):
    from tests.images.floods import BLOCKS, flooded

    kind = dice.choice(list(BLOCKS))
    block = dice.choice(list(BLOCKS[kind].values()))
    each = block[1] if isinstance(block, tuple) else block
    return flooded(kind, block, max(1, size_of(dice) // len(each)))


def bomb(dice):
    from tests.hostile import bombs

    width, height = (int(2 ** dice.uniform(0, 16)) for _ in range(2))
    packed = bombs.zeros(10 ** dice.randint(3, 8))
    return dice.choice(
        (
            lambda: bombs.png(
                width, height, depth=dice.choice((1, 8)), colour=dice.choice((0, 2)), pixels=packed
            ),
            lambda: bombs.gif((width, height), (height, width), dice.randint(1, 5_000)),
            lambda: bombs.jpeg(width, height, progressive=dice.random() < 0.5),
            lambda: bombs.bmp(width, height, run_lengths=dice.random() < 0.5),
            lambda: bombs.webp(min(width, 16_383), min(height, 16_383)),
            lambda: bombs.plain_tiff(width, height, packed),
            lambda: bombs.avif(dice.choice((8_000, 16_000)), said=dice.choice((0, width))),
        )
    )()


def tiff_of_many_entries(dice):
    """A directory of up to 65,535 entries, of which each may point at much of the file."""
    count = dice.randint(1, 65_535)
    length = dice.choice((1, 4, size_of(dice)))
    entries = b"".join(
        struct.pack("<HHII", dice.randrange(65_536), dice.choice((1, 2, 3, 4, 5, 12)), length, 8)
        for _ in range(count)
    )
    return b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4) + bytes(size_of(dice))


def tiff_of_many_strips(dice):
    """Rows of one pixel each, or strips of no bytes, or tiles of one pixel."""
    count = max(1, min(size_of(dice) // 8, 1_100_000))
    width, height = dice.choice(((1, min(count, 65_535)), (200, count // 200 + 1), (min(count, 65_535), 1)))
    table = 8 + 4096
    directory = {256: width, 257: height, 258: 8, 259: dice.choice((1, 5, 8, 32773)), 262: 1, 277: 1}
    tags = {tag: (3, 1, value) for tag, value in directory.items()}
    if dice.random() < 0.5:
        tags |= {273: (4, count, table), 278: (4, 1, 1), 279: (4, count, table + 4 * count)}
    else:
        tags |= {322: (4, 1, 16), 323: (4, 1, 16), 324: (4, count, table), 325: (4, count, table + 4 * count)}
    body = struct.pack("<H", len(tags))
    body += b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags)) + bytes(4)
    places = struct.pack("<I", 8) * count + struct.pack("<I", dice.choice((0, 1, 4_000))) * count
    return (b"II*\0" + struct.pack("<I", 8) + body).ljust(table, b"\0") + places


def tiff_of_many_directories(dice):
    """Each names the next: a chain, or a ring."""
    count = min(size_of(dice) // 18, 500_000)
    ends = [8 + 18 * (number + 1) for number in range(count)]
    ends[-1] = dice.choice((0, 8))
    one = struct.pack("<HHHII", 1, 256, 4, 1, 1)
    return b"II*\0" + struct.pack("<I", 8) + b"".join(one + struct.pack("<I", end) for end in ends)


def avif_of_many_boxes(dice):
    """Empty boxes, boxes within boxes, or many items and properties, before a sound file's own or within its meta."""
    content = next(each for each in samples() if each[4:12] == b"ftypavif")
    kind = dice.choice((b"free", b"meta", b"iprp", b"infe", b"ispe", b"colr", b"iloc", b"moov", b"trak"))
    size = size_of(dice)
    if dice.random() < 0.5:
        flood = struct.pack(">I4s", 8, kind) * (size // 8)
    else:
        depth = min(size // 8, 200_000)
        flood = b"".join(struct.pack(">I4s", 8 * (depth - number), kind) for number in range(depth))
    start = int.from_bytes(content[:4])
    if dice.random() < 0.5:
        return content[:start] + flood + content[start:]
    meta = int.from_bytes(content[start : start + 4])
    grown = struct.pack(">I", meta + len(flood)) + content[start + 4 : start + meta] + flood
    return content[:start] + grown + content[start + meta :]


def magic(dice):
    """How a format begins, and then anything."""
    begins = (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\xff\xff\0\0WEBPVP8X",
        b"BM",
        b"II*\0",
        b"MM\0*",
    )
    body = dice.choice(
        (dice.randbytes(min(size_of(dice), 200_000)), dice.randbytes(64) * (size_of(dice) // 64))
    )
    return dice.choice((*begins, b"\0\0\0\x1cftypavif")) + body


MAKERS = {
    each.__name__.replace("_", " "): each
    for each in (
        flood_of_blocks,
        bomb,
        tiff_of_many_entries,
        tiff_of_many_strips,
        tiff_of_many_directories,
        avif_of_many_boxes,
        magic,
    )
}


def processor_seconds():
    """Of this process, of the decoders that have ended, and of those that are there."""
    from shopsearch.images import sandbox

    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(each.ru_utime + each.ru_stime for each in both)
    for decoder in list(sandbox._all):
        seconds += int(Path(f"/proc/{decoder._process.pid}/schedstat").read_text().split()[0]) / 1e9
    return seconds


def memory(name):
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) / 1024


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    from django.conf import settings

    settings.configure(SHOPSEARCH={"IMAGE_FORMATS": FORMATS})
    from shopsearch.exceptions import ImageError
    from shopsearch.images import decode

    samples()
    seconds, grown, answers = defaultdict(list), defaultdict(list), defaultdict(Counter)
    began = time.monotonic()
    for number in range(options.first, options.first + options.files):
        kind, content = made(number)
        Path("/proc/self/clear_refs").write_text("5")
        held, before = memory("VmRSS"), processor_seconds()
        try:
            decode(content)
            answers[kind]["read"] += 1
        except ImageError as error:
            answers[kind][type(error).__name__] += 1
        seconds[kind].append((processor_seconds() - before, number, len(content)))
        grown[kind].append((memory("VmHWM") - held, number, len(content)))
        done = number - options.first + 1
        if done % 500 == 0:
            rate = done / (time.monotonic() - began)
            print(f"{done:,} files, {(options.files - done) / rate:.0f} s left", flush=True)
    print(f"\n{'file':28}{'files':>7}{'read':>7}{'seconds: median':>17}{'most':>7}{'MB':>6}   the worst")
    for kind in seconds:
        worst, number, size = max(seconds[kind])
        median = sorted(seconds[kind])[len(seconds[kind]) // 2][0]
        print(
            f"{kind:28}{len(seconds[kind]):7,}{answers[kind]['read']:7,}{median:17.3f}{worst:7.2f}"
            f"{max(grown[kind])[0]:6.0f}   number {number}, {size:,} bytes"
        )
    from shopsearch.images import sandbox

    sandbox.close()
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\nThe largest decoding process had {most:.0f} MB, its Python and Pillow among them.")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
