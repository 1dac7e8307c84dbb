"""Requests that no browser sends: whatever the content type, the charset and the parts, the answer is a sentence.

SHOPSEARCH_REQUESTS says how many are tried of each kind, 200 by default; 2,000 were, by SHOPSEARCH_REQUESTS=1000.
"""

import os
from urllib.parse import quote

import pytest
from django.core.cache import cache
from django.core.exceptions import (
    BadRequest,
    DisallowedHost,
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.http import UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

pytestmark = pytest.mark.django_db
API, PAGE = "/api/search/", "/search/"
REQUESTS = int(os.environ.get("SHOPSEARCH_REQUESTS", "200"))

CHARSETS = (
    *(
        "",
        "utf-8",
        "UTF8",
        "utf-8-sig",
        "us-ascii",
        "latin-1",
        "utf-16",
        "utf-16-le",
        "utf-32",
        "utf-7",
        "big5",
    ),
    *(
        "idna",
        "punycode",
        "undefined",
        "unicode_escape",
        "raw_unicode_escape",
        "base64",
        "rot13",
        "hex",
        "zip",
    ),
    *("nothing", "mbcs", "\xff", '"', "utf-8; charset=utf-16"),
)
STRICT = ("idna", "punycode", "undefined", "base64", "rot13", "hex", "zip")
NAMES = (
    "q",
    "category",
    "price",
    "price__gte",
    "tags",
    "image",
    "image_url",
    "rerank",
    "limit",
    "sort",
    "format",
    "",
)
VALUES = (
    b"",
    b"mug",
    b"\xff\xfe",
    b"\x00",
    b"m\x00u\x00g\x00",
    b"%ff%fe=%00",
    b"=" * 5,
    "лампа".encode(),
    b"9" * 5_000,
)
TEXTS = st.sampled_from(VALUES) | st.binary(max_size=40)
ENCODINGS = st.sampled_from(["", "base64", "quoted-printable", "8bit", "x"])
FILENAMES = st.sampled_from(
    [
        *(
            "",
            '; filename="a.png"',
            '; filename=""',
            "; filename*=UTF-8''a.png",
            "; filename*=undefined''a%ff",
        ),
        *(
            "; filename*=nothing''a",
            "; filename*=idna''%ff",
            "; filename*0=a",
            '; filename="../../a"',
            "; filename=\xff",
        ),
    ]
)


@st.composite
def part(draw):
    head = f'Content-Disposition: form-data; name="{draw(st.sampled_from(NAMES))}"{draw(FILENAMES)}'
    if kind := draw(st.sampled_from(["", "text/plain", "image/png", "application/x"])):
        head += f"\r\nContent-Type: {kind}; charset={draw(st.sampled_from(CHARSETS))}"
    if encoding := draw(ENCODINGS):
        head += f"\r\nContent-Transfer-Encoding: {encoding}"
    return head.encode("latin-1", "replace") + b"\r\n\r\n" + draw(TEXTS)


@st.composite
def body(draw, kind):
    if kind == "multipart/form-data":
        content = (
            b"".join(b"--x\r\n" + each + b"\r\n" for each in draw(st.lists(part(), max_size=4)))
            + b"--x--\r\n"
        )
    elif kind == "application/x-www-form-urlencoded":
        pairs = draw(st.lists(st.tuples(st.sampled_from(NAMES), TEXTS), max_size=4))
        content = b"&".join(name.encode() + b"=" + value for name, value in pairs)
    else:
        content = draw(
            st.sampled_from(
                [b"{}", b'{"q": "mug"}', b'{"q": 1e999}', b"[" * 9_000, b'"', b'{"q": "\\ud800"}']
            )
        )
        content = draw(st.just(content) | TEXTS)
    return content[: draw(st.none() | st.integers(0, len(content)))]


@st.composite
def requests(draw):
    """Content type, body and query string.

    With a query string and a charset that has no way to replace what it cannot read, such as idna, or is none of
    text, such as base64, Django's WSGIRequest fails as it is made: the server answers 500 before any middleware or
    view of the project is asked.
    """
    kind = draw(
        st.sampled_from(
            ["multipart/form-data", "application/x-www-form-urlencoded", "application/json", "text/x"]
        )
    )
    content = draw(body(kind))
    if boundary := draw(
        st.sampled_from(
            ["; boundary=x", "; boundary=x", "; boundary=x", "; boundary=", "; boundary=\xe9", ""]
        )
    ):
        kind += boundary if kind.startswith("multipart") else ""
    if charset := draw(st.sampled_from(CHARSETS)):
        kind += f"; charset={charset}"
    queries = ["", "?q=mug", "?q=%ff%fe", "?category=%00", "?format=xml"]
    return kind, content, "" if charset in STRICT else draw(st.sampled_from(queries))


def everything(test):
    decorate = hypothesis_settings(
        max_examples=REQUESTS,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    return decorate(given(method=st.sampled_from(["GET", "POST"]), asked=requests())(test))


@pytest.fixture(autouse=True)
def _no_throttle(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    cache.clear()


def is_sentence_of_the_api(response):
    answer = response.json()
    return set(answer) == {"code", "detail"} and answer["detail"].rstrip()[-1] in ".!"


@everything
def test_the_api_answers_results_or_a_sentence(client, method, asked):
    kind, content, query = asked
    response = client.generic(method, API + query, content, kind)
    assert response.status_code in (200, 400, 404, 406, 415), response.content
    assert response.status_code == 200 or is_sentence_of_the_api(response), response.content


@everything
def test_the_page_answers_results_or_a_sentence(client, method, asked):
    kind, content, query = asked
    response = client.generic(method, PAGE + query, content, kind)
    assert response.status_code in (200, 303, 400), response.content
    assert (
        response.status_code == 303
        or b"data-search-results" in response.content
        or b"search" in response.content
    )
    if response.status_code == 400:
        assert b'role="alert"' in response.content


RAISED = [
    *(RequestDataTooBig("x"), TooManyFieldsSent("x"), TooManyFilesSent("x"), DisallowedHost("x")),
    *(UnreadablePostError("x"), MultiPartParserError("x"), BadRequest("x"), RecursionError("x")),
    *(ValueError("x"), UnicodeError("x"), LookupError("unknown encoding"), KeyError("x")),
]
"""What the parsers raise, in this release of Django or in another."""


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_the_parsers_raise_is_a_sentence(client, monkeypatch, error):
    def fail(self):
        raise error

    monkeypatch.setattr(MultiPartParser, "parse", fail)
    api, page = client.post(API, {"q": "mug"}), client.post(PAGE, {"q": "mug"})
    assert (api.status_code, page.status_code) == (400, 400)
    assert is_sentence_of_the_api(api)
    assert b'role="alert"' in page.content
    is_about_size = isinstance(error, RequestDataTooBig)
    assert (api.json()["code"] == "image_too_large") is is_about_size


@pytest.mark.parametrize("name", ["category", "price", "q", "colour", "limit"])
def test_a_file_named_like_a_filter_is_refused(client, name):
    content = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n\xff\r\n--x--\r\n'
    response = client.generic("POST", API, content.encode("latin-1"), "multipart/form-data; boundary=x")
    assert response.status_code == 400
    assert response.json() == {"code": "invalid", "detail": f"{name!r} cannot be a file; only image is one."}


@pytest.mark.parametrize("path", [API, PAGE])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("charset", ["utf-16", "latin-1", *STRICT])
def test_a_request_in_another_encoding_is_told_which_one_to_use(client, path, method, charset):
    kind = f"application/x-www-form-urlencoded; charset={charset}"
    response = client.generic(method, path, "q=mug".encode("utf-16"), kind)
    assert response.status_code == 400
    assert b"Send the request in UTF-8" in response.content


@pytest.mark.parametrize("charset", ["utf8", "UTF-8", "us-ascii"])
def test_every_name_of_utf_8_is_understood(client, charset):
    kind = f"application/x-www-form-urlencoded; charset={charset}"
    response = client.generic("POST", API, b"q=mug", kind)
    assert response.status_code == 200
    page = client.generic("GET", f"{PAGE}?q={quote('лампа')}", b"x", kind)
    assert 'value="лампа"' in page.content.decode()


@pytest.mark.parametrize("words", ["x" * 1_000, "杯" * 1_000, "🏺" * 1_000])
def test_a_form_posted_without_the_script_has_a_short_address_or_none(client, words):
    response = client.post(PAGE, {"q": words})
    assert response.status_code == (303 if words[0] == "x" else 200)
    assert len(response.headers.get("Location", "")) <= 2_000
