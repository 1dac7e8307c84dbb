"""A picture on its way in: kept in memory, and refused while most of it is still to come."""

import io

import pytest
from django.core.files.uploadhandler import FileUploadHandler, TemporaryFileUploadHandler
from django.core.handlers.wsgi import WSGIRequest
from django.test import RequestFactory
from django.urls import resolve
from rest_framework.response import Response

from shopsearch.api import access, upload
from shopsearch.images import headers
from tests.images.floods import BLOCKS, flooded, saved, segment
from tests.images.test_headers import KINDS, WITHOUT_BLOCKS, limit_to

pytestmark = pytest.mark.django_db

LONG_NOTE = segment(0xE1, b"Exif\0\0" + b"x" * 60_000)
LARGE = flooded("JPEG", LONG_NOTE, 60)
"""3.6 MB, more than Django keeps in memory."""


@pytest.fixture(autouse=True)
def _no_throttle(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}


def post(path, content):
    """The answer, and how much of the body was read."""
    environ = RequestFactory().post(path, {"image": io.BytesIO(content)}).environ
    stream = environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read())
    view, arguments, named = resolve(path)
    response = view(WSGIRequest(environ), *arguments, **named)
    if isinstance(response, Response):
        response.render()
    return response, stream.tell()


@pytest.mark.parametrize("path", ["/api/search/", "/search/"])
def test_a_flood_of_notes_is_refused_while_most_of_it_is_still_to_come(path):
    flood = flooded("JPEG", BLOCKS["JPEG"]["notes"], 200_000)
    response, read = post(path, flood)
    assert (response.status_code, b"too many comments or parts" in response.content) == (400, True)
    assert read <= 2 * upload.CHUNK_BYTES < len(flood) / 3


def of_size(width, height):
    """A progressive JPEG whose header says so, up to its second pass, and data that nobody reads."""
    content = saved("JPEG", progressive=True)
    content = content[: content.index(b"\xff\xda", content.index(b"\xff\xda") + 2)]
    at = content.index(b"\xff\xc2") + 5
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return content[:at] + size + content[at + 4 :] + bytes(2_000_000)


@pytest.mark.parametrize("path", ["/api/search/", "/search/"])
@pytest.mark.parametrize(("size", "is_refused"), [((8_000, 4_900), True), ((640, 480), False)])
def test_while_large_pictures_have_no_place_one_is_turned_away_by_its_header(
    path, size, is_refused, monkeypatch
):
    content = of_size(*size)
    monkeypatch.setattr(access.Places, "is_full", lambda places, kind, visitor: kind == "large")
    response, read = post(path, content)
    assert (response.status_code == 503, read <= 2 * upload.CHUNK_BYTES) == (is_refused, is_refused)


@pytest.mark.parametrize("path", ["/api/search/", "/search/"])
def test_a_large_picture_is_read_to_its_end_and_never_written_to_the_disk(path, monkeypatch):
    monkeypatch.setattr(
        TemporaryFileUploadHandler, "new_file", lambda *args, **named: pytest.fail("it was written")
    )
    response, read = post(path, LARGE)
    assert (response.status_code, read > len(LARGE)) == (200, True)


class Counting(FileUploadHandler):
    """A shop's own, such as one that looks for viruses."""

    seen = 0

    def receive_data_chunk(self, raw_data, start):
        Counting.seen += len(raw_data)
        return raw_data

    def file_complete(self, file_size):
        return None


def test_an_upload_handler_of_the_shop_sees_the_whole_picture(settings):
    settings.FILE_UPLOAD_HANDLERS = [f"{__name__}.Counting", *settings.FILE_UPLOAD_HANDLERS]
    Counting.seen = 0
    response, _read = post("/api/search/", LARGE)
    assert (response.status_code, Counting.seen) == (200, len(LARGE))


def test_a_body_that_a_middleware_has_read_is_searched_with(client, settings):
    settings.MIDDLEWARE = [f"{__name__}.reads_the_form", *settings.MIDDLEWARE]
    assert client.post("/api/search/", {"image": io.BytesIO(saved("PNG"))}).status_code == 200


def reads_the_form(get_response):
    def middleware(request):
        assert request.FILES
        return get_response(request)

    return middleware


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_no_beginning_of_a_picture_that_is_accepted_is_refused(kind, name, monkeypatch):
    limit_to(60, monkeypatch)
    content = flooded(kind, BLOCKS[kind][name], 20)
    headers.scan(content)
    for length in range(0, len(content), 37):
        headers.check_beginning(content[:length])


def test_every_flood_is_refused_by_its_beginning(monkeypatch):
    limit_to(60, monkeypatch)
    for kind, name in KINDS:
        content = flooded(kind, BLOCKS[kind][name], 2_000)
        try:
            headers.check_beginning(content[: len(content) // 2])
        except headers.ImageUnreadable:
            continue
        assert (kind, name) in WITHOUT_BLOCKS
