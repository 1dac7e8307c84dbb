"""Every odd picture of Pillow's own tests and of bmpsuite ends in an answer or a clear refusal."""

import ctypes
import io
import json
import math
import os
import resource

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from shopsearch import images
from shopsearch.api import access
from shopsearch.exceptions import ImageError
from shopsearch.indexing import batch
from shopsearch.models import IndexEntry, ProductImage
from tests import SHARED
from tests.shop.models import Product

FOLDER = SHARED / "data/odd_images/files"
FILES = sorted(FOLDER.iterdir()) if FOLDER.exists() else []
MEMORY_BYTES = 300 * 1024 * 1024

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
needs_the_files = pytest.mark.skipif(
    not FILES, reason="the odd pictures, ../shared/data/odd_images, are not here"
)


@pytest.fixture(autouse=True)
def _no_throttle_an_empty_store_and_old_formats_too(settings, monkeypatch):
    monkeypatch.setattr(access, "LARGE_BURST_SECONDS", math.inf)  # one comes right after the other
    formats = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None, "IMAGE_FORMATS": formats}


@needs_the_files
@pytest.mark.django_db
def test_each_as_a_query_is_answered_or_refused_with_a_sentence(client):
    wrong = {}
    for path in FILES:
        response = client.post("/api/search/", {"image": SimpleUploadedFile(path.name, path.read_bytes())})
        answer = response.json()
        answered = response.status_code == 200 and answer["query"]["kind"] == "image"
        refused = response.status_code == 400 and answer["code"] in ("image_unreadable", "image_too_large")
        if not (answered or (refused and answer["detail"].endswith("."))):
            wrong[path.name] = (response.status_code, answer)
    assert wrong == {}


@needs_the_files
@pytest.mark.django_db
def test_each_as_a_products_image_is_indexed_or_failed_with_a_reason():
    product = Product.objects.create(title="odd")
    names = {}
    for path in FILES:
        image = ProductImage.objects.create(product=product, image=ContentFile(path.read_bytes(), path.name))
        names[str(image.pk)] = path.name
    list(batch.index_pending())

    entries = IndexEntry.objects.filter(image_id__in=names)
    assert len(entries) == len(FILES)
    stuck = {
        names[entry.image_id]: entry.state for entry in entries if entry.state not in ("indexed", "failed")
    }
    assert stuck == {}
    unexplained = [names[entry.image_id] for entry in entries if entry.state == "failed" and not entry.error]
    assert unexplained == []
    indexed = {names[entry.image_id] for entry in entries if entry.state == "indexed"}
    assert indexed == {path.name for path in FILES if is_read(path.read_bytes())}


def is_read(content):
    try:
        images.decode(content)
    except ImageError:
        return False
    return True


def peak(content):
    """Read or refused, and how many bytes decoding added to the high-water mark of a process made for it alone."""
    Image.core.clear_cache()
    ctypes.CDLL(None).malloc_trim(0)  # what this process has freed would hide what the child takes
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        verdict = "died"
        try:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            verdict = "read" if is_read(content) else "refused"
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(sender, json.dumps([verdict, (after - before) * 1024]).encode())
        finally:
            os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as answer:
        content = answer.read()
    os.waitpid(child, 0)
    return json.loads(content or b'["died", 0]')


@needs_the_files
def test_none_takes_more_memory_than_the_limit():
    peaks = {path.name: peak(path.read_bytes()) for path in FILES}
    assert {
        name: found for name, found in peaks.items() if found[0] == "died" or found[1] > MEMORY_BYTES
    } == {}


@pytest.mark.parametrize(
    ("mode", "size", "kind", "options"),
    [
        ("RGBA", (8000, 4999), "PNG", {"compress_level": 1}),
        ("RGB", (8000, 4999), "JPEG", {"progressive": True, "subsampling": 0}),
        ("CMYK", (6000, 4999), "JPEG", {"progressive": True}),
        ("RGB", (4000, 3500), "WEBP", {"method": 0}),
        (
            "RGBA",
            (4000, 3700),
            "TIFF",
            {"compression": "tiff_lzw", "strip_size": 2**31 - 1, "tiffinfo": {274: 6}},
        ),
    ],
)
def test_nor_do_the_largest_pictures_that_are_accepted(mode, size, kind, options):
    content = io.BytesIO()
    Image.new(mode, size).save(content, kind, **options)
    verdict, taken = peak(content.getvalue())
    assert verdict == "read"
    assert taken < MEMORY_BYTES
    assert kind == "TIFF" or taken > MEMORY_BYTES / 10  # a TIFF is decoded in a process of its own
