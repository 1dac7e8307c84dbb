"""What it costs to decode an ordinary picture, and a stranger's worst file.

    python -m benchmarks.decoding                      ordinary pictures, then files with floods of blocks, 9.5 MB each
    python -m benchmarks.decoding --against FOLDER     ordinary pictures, in turns with another checkout's decoder

Times are processor time of this process and of its decoding processes; memory is what one file adds to a new process.
"""

import argparse
import io
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

REPEATS = 15


def pictures():
    """Ordinary ones: of a phone, a shop and a thumbnail, in each format."""
    noise = Image.effect_noise((64, 48), 60).convert("RGB")
    for width, height in ((4000, 3000), (1200, 1200), (300, 300)):
        # Noise that was made larger: it compresses as photographs do.
        image = noise.resize((width, height), Image.Resampling.BICUBIC)
        for kind in ("JPEG", "PNG", "WEBP", "GIF", "AVIF"):
            content = io.BytesIO()
            image.save(content, kind, **({"speed": 10} if kind == "AVIF" else {}))
            yield f"{kind} {width} x {height}", content.getvalue()


def seconds():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)


def configured():
    from django.conf import settings

    settings.configure()
    from shopsearch.images import decode

    return decode


def worker():
    """Decodes one file after another as it is asked to and says how long each took, by the clock and here."""
    decode = configured()
    while line := sys.stdin.buffer.readline():
        content = sys.stdin.buffer.read(int(line))
        clock, here = time.perf_counter(), seconds()
        decode(content)
        print(time.perf_counter() - clock, seconds() - here, flush=True)


class Checkout:
    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
        )

    def decode(self, content):
        self.process.stdin.write(b"%d\n" % len(content) + content)
        self.process.stdin.flush()
        return [float(each) for each in self.process.stdout.readline().split()]


def ordinary(against):
    checkouts = [Checkout(str(Path(folder).resolve())) for folder in [".", *([against] if against else [])]]
    print(f"{'picture':24}{'bytes':>10}   ms here" + ("   ms there  here / there" if against else ""))
    for name, content in pictures():
        took = [[], []]
        for _ in range(REPEATS):
            for place, checkout in enumerate(checkouts):
                # A process that waits has not been counted yet: for AVIF only the clock says what it costs.
                clock, processor = checkout.decode(content)
                took[place].append(clock if name.startswith("AVIF") else processor)
        ms = [statistics.median(each) * 1_000 for each in took if each]
        more = f"{ms[1]:11.2f}{ms[0] / ms[1]:14.2f}" if against else ""
        print(f"{name:24}{len(content):10,}{ms[0]:10.2f}{more}")
    for checkout in checkouts:
        checkout.process.stdin.close()
        checkout.process.wait()


def floods(size):
    from tests.images.floods import BLOCKS, flooded

    for kind, blocks in BLOCKS.items():
        for name, block in blocks.items():
            each = block[1] if isinstance(block, tuple) else block
            yield f"{kind} {name}", flooded(kind, block, size // len(each))


def largest():
    """The most pixels that are accepted, in files that compress well: the longest decoding that a header allows."""
    for kind, mode, side, options in [
        ("JPEG", "RGB", (8000, 4999), {"progressive": True, "subsampling": 0}),
        ("JPEG", "CMYK", (6000, 4999), {"progressive": True}),
        ("PNG", "RGBA", (8000, 4999), {"compress_level": 1}),
        ("WEBP", "RGBA", (4000, 3500), {"method": 0}),
        ("GIF", "P", (8000, 4999), {}),
    ]:
        content = io.BytesIO()
        Image.effect_noise((800, 500), 60).convert(mode).resize(side).save(content, kind, **options)
        yield f"{kind} {mode} {side[0]} x {side[1]}", content.getvalue()


def worst(limit):
    decode = configured()
    from shopsearch.exceptions import ImageError

    print(f"\n{'file':32}{'bytes':>11}   seconds   MB more")
    for name, content in [*floods(limit), *largest()]:
        sys.stdout.flush()
        if child := os.fork():
            os.waitpid(child, 0)
            continue
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = seconds()
        try:
            answer = decode(content).size
        except ImageError as error:
            answer = error
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"{name:32}{len(content):11,}{seconds() - start:10.3f}{more:10.0f}   {answer}", flush=True)
        os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", default="", help="another checkout of this project")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker()
    else:
        ordinary(options.against)
        if not options.against:
            worst(9_500_000)
