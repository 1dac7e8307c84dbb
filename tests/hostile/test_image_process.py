"""shopsearch.images.sandbox: a decoder that takes what it likes takes it from a process that may not have it."""

import json
import os
import struct
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from shopsearch.conf import DEFAULTS
from shopsearch.exceptions import ImageError, ImageTooLarge, ImageUnreadable
from shopsearch.images import decode, sandbox
from shopsearch.images.headers import scan
from tests import ROOT
from tests.hostile.bombs import avif
from tests.hostile.pictures import IN_FULL, NOTE, noise, noted, saved, valid
from tests.images.test_decoding import RED, near

MEMORY_BYTES = 300 * 1024 * 1024

# In a process that is small itself: a child's peak begins with what its parent held.
PEAKS = """
import json, resource, sys
from django.conf import settings
settings.configure()
from shopsearch.exceptions import ImageError
from shopsearch.images import decode
verdicts = []
for path in sys.argv[1:]:
    try:
        with open(path, "rb") as file:
            verdicts.append(decode(file).size)
    except ImageError as error:
        verdicts.append(type(error).__name__)
print(json.dumps([verdicts, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]))
"""


def peak(tmp_path, *pictures):
    """What became of each, and the most that any of the processes held that decoded them."""
    paths = [tmp_path / str(number) for number in range(len(pictures))]
    for path, content in zip(paths, pictures, strict=True):
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, *map(str, paths)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_an_avif_that_lies_about_its_size_takes_no_more_than_the_limit(tmp_path):
    lies = [avif(8_000), avif(16_000), avif(16_000, said=16), avif(8_000, said=3_000)]
    verdicts, most = peak(tmp_path, *lies)
    print(verdicts, f"{most / 1024 / 1024:.0f} MB")
    assert most < MEMORY_BYTES
    assert "ImageUnreadable" in verdicts, "the largest of them needs more than there is"


@pytest.mark.skipif(not IN_FULL, reason="in full only: it takes seconds to write one")
def test_nor_does_the_largest_honest_one_which_is_read(tmp_path):
    content = saved(Image.new("RGBA", (4_300, 3_480), (*RED, 128)), "AVIF", speed=10, subsampling="4:4:4")
    verdicts, most = peak(tmp_path, content)
    print(f"{most / 1024 / 1024:.0f} MB")
    assert verdicts == [[1434, 1160]]
    assert MEMORY_BYTES / 10 < most < MEMORY_BYTES


def test_an_honest_one_of_too_many_pixels_is_refused_with_the_limit():
    with pytest.raises(ImageTooLarge, match="has 64 million pixels; at most 15 million are accepted in AVIF"):
        decode(avif(8_000, said=0))


def tiff_of_strips(count):
    """Far more than it has rows, and each is looked at."""
    tags = {
        256: (3, 200),
        257: (4, count // 200),
        258: (3, 8),
        259: (3, 1),
        262: (3, 1),
        277: (3, 1),
        278: (4, 1),
    }
    entries = {tag: (kind, 1, value) for tag, (kind, value) in tags.items()}
    entries |= {273: (4, count, 8), 279: (4, count, 8 + 4 * count)}
    table = struct.pack("<I", 8) * count + struct.pack("<I", 4_000) * count
    directory = b"".join(struct.pack("<HHII", tag, *entries[tag]) for tag in sorted(entries))
    start = struct.pack("<I", 8 + len(table))
    return b"II*\0" + start + table + struct.pack("<H", len(entries)) + directory + bytes(4)


@pytest.mark.parametrize("entries", [1_001, 65_535])
def test_a_tiff_with_too_many_notes_never_reaches_its_decoder(entries):
    content = struct.pack("<4sIH", b"II*\0", 8, entries) + struct.pack("<HHII", 270, 2, 4, 8) * entries
    with pytest.raises(ImageUnreadable, match="notes are longer"):
        scan(content)


def test_nor_does_one_whose_notes_are_longer_than_the_file():
    content = struct.pack("<4sIH", b"II*\0", 8, 1) + struct.pack("<HHII", 270, 2, 4_000_000_000, 8) + bytes(4)
    with pytest.raises(ImageUnreadable, match="notes are longer"):
        scan(content)
    with pytest.raises(ImageUnreadable, match="notes are longer"):
        scan(struct.pack(">4sHHQQ", b"MM\0+", 8, 0, 16, 1) + struct.pack(">HHQQ", 270, 2, 2**60, 8))


def test_a_tiff_that_ends_in_its_directory_is_left_to_its_decoder():
    content = b"II*\0" + struct.pack("<IH", 8, 3)
    assert scan(content).content == content


@pytest.mark.nightly  # it takes the second and a quarter that a decoder is given
def test_a_file_that_takes_too_much_of_the_processor_is_refused_with_a_sentence(settings):
    settings.SHOPSEARCH = {"IMAGE_FORMATS": ["TIFF"]}
    with pytest.raises(ImageUnreadable, match="takes too long to read"):
        decode(tiff_of_strips(500_000))


def test_avif_is_accepted_by_default_and_old_formats_are_not():
    assert DEFAULTS["IMAGE_FORMATS"] == ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
    assert near(decode(saved(Image.new("RGB", (40, 40), RED), "AVIF")).getpixel((5, 5)), RED, 8)
    for kind in ("BMP", "TIFF", "ICO", "JPEG2000"):
        with pytest.raises(ImageUnreadable):
            decode(saved(noise(), kind))


def test_an_avif_is_upright_and_of_its_notes_nothing_is_left():
    content = noted()["AVIF"]
    assert NOTE in content
    decoded = decode(content)
    assert (decoded.size, decoded.info, decoded.getexif()) == ((480, 640), {}, {})


@pytest.mark.parametrize("kind", ["BLP", "ICO", "JPEG2000", "PCX"])
def test_a_format_that_a_shop_adds_is_decoded_apart(kind, settings, monkeypatch):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "IMAGE_FORMATS": ["PNG", kind]}
    monkeypatch.setattr(Image, "open", lambda *args, **options: pytest.fail("it was decoded here"))
    picture = noise("P") if kind in ("BLP", "PCX") else noise()
    assert max(decode(saved(picture, kind)).size) in (32, 48)


def test_no_process_is_started_for_the_usual_formats_or_for_what_is_no_picture(monkeypatch):
    monkeypatch.setattr(sandbox, "_take", lambda: pytest.fail("it was"))
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        assert decode(saved(noise(), kind)).size == (48, 32)
    for content in (b"", b"no picture", saved(noise(), "TIFF"), saved(noise(), "ICO")):
        with pytest.raises(ImageUnreadable):
            decode(content)


@pytest.fixture
def no_decoders():
    """None waits, before or after."""
    sandbox.close()
    yield
    sandbox.close()


@pytest.fixture
def programs(no_decoders, monkeypatch):
    """Runs this program of Python instead of the decoder."""

    def choose(program):
        run = subprocess.Popen
        monkeypatch.setattr(
            subprocess,
            "Popen",
            lambda command, **options: run([sys.executable, "-c", program], **options),
        )

    return choose


AVIF = saved(noise(), "AVIF")


def test_nothing_of_the_environment_is_in_the_process(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "of the shop")
    assert not {"SECRET_KEY", "PATH", "HOME"} & sandbox._environment().keys()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("", "takes too much memory"),
        ("[]", "takes too much memory"),
        ('{"size": [100, 100], "bytes": 3}\nfew', "takes too much memory"),
        ('{"size": [100, 100], "bytes": 30000}\nfew', "takes too much memory"),
        ('{"size": [99999, 99999], "bytes": 3}\nfew', "takes too much memory"),
        ('{"size": "large"}\n', "takes too much memory"),
        ('{"bytes": "many"}\n', "takes too much memory"),
        ('{"bytes": Infinity}\n', "takes too much memory"),
        ("[" * 50_000 + "\n", "takes too much memory"),
        ('{"refused": "SystemExit", "message": "x", "values": {}}\n', "takes too much memory"),
        ('{"refused": "ImageTooLarge", "message": "%(a)s", "values": {"b": 1}}\n', "takes too much memory"),
        (
            '{"refused": "ImageTooLarge", "message": "%(a)9999999d", "values": {"a": 1}}\n',
            "takes too much memory",
        ),
        ('{"refused": "ImageTooLarge", "message": "It is %(a)s.", "values": {"a": 9}}\n', "It is 9"),
    ],
)
def test_however_the_process_ends_it_is_a_picture_that_was_refused(answer, sentence, programs, monkeypatch):
    monkeypatch.setattr(Image, "frombytes", lambda *args: pytest.fail("memory was filled for it"))
    programs(f"import sys; sys.stdin.buffer.readline(); sys.stdout.write({answer!r})")
    with pytest.raises(ImageError, match=sentence):
        decode(AVIF)
    assert not sandbox._idle, "it is not used again"


@pytest.mark.parametrize("beginning", ["", '{"size": [100, 100], "bytes": 99999999999}\n', '{"bytes": -1}\n'])
def test_of_an_answer_without_end_no_more_is_read_than_a_picture_has(beginning, programs):
    """And the process is ended: this one would go on until its memory or the shop's is full."""
    programs(
        f"import sys; sys.stdin.buffer.readline(); sys.stdout.write({beginning!r}); part = 'x' * 65536\n"
        "while True: sys.stdout.write(part)"
    )
    tracemalloc.start()
    with pytest.raises(ImageUnreadable, match="takes too much memory"):
        decode(AVIF)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2 * sandbox.MAX_PIXELS_BYTES
    assert not sandbox._all


@pytest.mark.parametrize("program", ["import time; time.sleep(60)", "while True: pass"])
def test_a_process_that_takes_too_long_is_ended(program, programs, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 0.2)
    programs(program)
    with pytest.raises(ImageUnreadable, match="takes too long"):
        decode(AVIF + bytes(1_000_000))  # more than a pipe holds: writing waits too
    assert not sandbox._all


BUSY = """
import runpy, time
from shopsearch.exceptions import ImageUnreadable
from shopsearch.images import decoding, sandbox
def decode(content, formats, share):
    while time.process_time() < 2:
        pass
    raise ImageUnreadable("Nothing ended the decoder.")
decoding.decode_here = decode
sandbox.PROCESSOR_SECONDS = 0.05
runpy.run_module("shopsearch.images", run_name="__main__")
"""


def test_the_system_ends_a_process_that_uses_too_much_of_the_processor(programs):
    programs(BUSY)
    with pytest.raises(ImageUnreadable, match="takes too long"):
        decode(AVIF)
    assert not sandbox._all


def test_where_no_process_can_be_started_the_picture_cannot_be_read(no_decoders, monkeypatch):
    monkeypatch.setattr(sandbox, "_python", lambda: "/no/such/python")
    with pytest.raises(ImageUnreadable, match="cannot be read here"):
        decode(AVIF)


def test_a_process_is_kept_for_the_next_picture_and_ends_after_a_refusal(no_decoders):
    pictures = [decode(saved(Image.new("RGB", (40, 40 + each), RED), "AVIF")) for each in range(3)]
    assert [picture.size for picture in pictures] == [(40, 40), (40, 41), (40, 42)]
    [kept] = sandbox._idle
    assert kept.pictures == 3
    with pytest.raises(ImageError):
        decode(AVIF[:100])
    assert (sandbox._idle, sandbox._all) == ([], set())
    assert kept._process.poll() is not None


def test_a_process_ends_after_so_many_pictures(no_decoders, monkeypatch):
    monkeypatch.setattr(sandbox, "MAX_PICTURES", 2)
    for _ in range(3):
        decode(AVIF)
    [kept] = sandbox._idle
    assert kept.pictures == 1


def test_the_limits_are_those_of_the_moment(no_decoders, settings):
    assert decode(AVIF).size == (48, 32)
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_IMAGE_PIXELS": 100}
    with pytest.raises(ImageTooLarge):
        decode(AVIF)


def test_each_thread_gets_its_own_picture(no_decoders):
    sizes = [(20 + each, 30) for each in range(16)]
    contents = [saved(Image.new("RGB", size, RED), "AVIF") for size in sizes]
    with ThreadPoolExecutor(4) as pool:
        assert [picture.size for picture in pool.map(decode, contents)] == sizes
    assert len(sandbox._all) == len(sandbox._idle) <= sandbox.MAX_IDLE


def test_a_forked_child_leaves_its_parents_process_alone(no_decoders):
    decode(AVIF)
    [kept] = sandbox._idle
    child = os.fork()
    if not child:
        apart = not sandbox._idle and decode(AVIF).size == (48, 32)
        sandbox.close()
        os._exit(0 if apart else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert decode(AVIF).size == (48, 32)
    assert sandbox._idle == [kept]


def test_where_a_server_embeds_python_the_interpreter_beside_it_is_started(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/usr/sbin/uwsgi")
    monkeypatch.setattr(sys, "prefix", "/srv/shop/environment")
    assert sandbox._python() == "/srv/shop/environment/bin/python3"


def test_a_truncated_avif_is_refused():
    content = next(each for each in valid() if b"ftypavif" in each)
    for length in (40, len(content) - 9):
        with pytest.raises(ImageError):
            decode(content[:length])
