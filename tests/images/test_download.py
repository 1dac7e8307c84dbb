"""Pictures by their addresses: what is fetched, what is refused, and that nothing holds on to the shop's server."""

import shutil
import socket
import ssl
import subprocess

import pytest

from shopsearch.exceptions import ImageTooLarge, ImageUnavailable, ImageUnreadable
from shopsearch.images import decode, http
from shopsearch.images.download import Downloader
from tests.services.picture_server import jpeg, picture_server

LOCAL = ("127.0.0.1/32",)


@pytest.fixture(scope="module")
def server():
    with picture_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_requests_yet(server):
    server.requests.clear()


def downloader(server, **fields):
    """One that may ask this machine, and the test's server on it, but nothing else that is not public."""
    fields = {"schemes": ("https", "http"), "ports": (server.port,), "networks": LOCAL} | fields
    return Downloader(**fields)


def refusal(downloader, address):
    with pytest.raises(ImageUnavailable) as caught:
        downloader.fetch(address)
    return caught.value


# What is fetched.


def test_a_picture_is_fetched_as_it_is_and_nothing_but_its_address_is_sent(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert downloader(server).fetch(f"{server.address}/good/a.jpg?size=2#part") == jpeg("/good/a.jpg")
    [(path, headers)] = server.requests
    assert path == "/good/a.jpg?size=2"
    assert headers == {
        "Host": f"127.0.0.1:{server.port}",
        "User-Agent": "shopsearch",
        "Accept": "image/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


def test_letters_beyond_ascii_are_written_as_addresses_have_them(server):
    downloader(server).fetch(f"{server.address}/good/größe.jpg?q=ñ")
    assert server.requests[0][0] == "/good/gr%C3%B6%C3%9Fe.jpg?q=%C3%B1"


def test_a_redirect_is_followed(server):
    to = f"{server.address}/redirect/?to=/good/b.jpg"
    assert downloader(server).fetch(f"{server.address}/redirect/?to={to}") == jpeg("/good/b.jpg")


# What servers do.


@pytest.mark.parametrize(
    ("path", "reason", "may_pass"),
    [
        ("/missing/a.jpg", "the server answered 404", False),
        ("/busy/a.jpg", "the server answered 503", True),
        ("/half/a.jpg", "the connection failed", True),
        ("/garbage/a.jpg", "the connection failed", True),
        ("/hangs-up/a.jpg", "the connection failed", True),
        ("/loop/", "more than 3 redirects", False),
        ("/redirect/?to=http://a:b/", "the address cannot be read", False),
    ],
)
def test_what_is_wrong_is_said_and_whether_another_try_is_worth_it(server, path, reason, may_pass):
    error = refusal(downloader(server), server.address + path)
    assert error.reason.startswith(reason)
    assert error.may_pass is may_pass


def test_nothing_that_a_server_says_gets_into_the_reason(server):
    said = {refusal(downloader(server), f"{server.address}/garbage/{n}").reason for n in range(20)}
    assert said <= {"the connection failed: RemoteProtocolError"}


def test_strangers_are_told_no_reason(server):
    said = {str(refusal(downloader(server), server.address + path)) for path in ("/missing/", "/busy/")}
    assert said | {str(refusal(Downloader(), "https://127.0.0.1/"))} == {str(ImageUnavailable())}


def test_a_server_says_when_to_come_back(server):
    assert refusal(downloader(server), f"{server.address}/busy-once/x.jpg").retry_after_seconds == 0


@pytest.mark.parametrize("path", ["/silent/", "/drops/"])
def test_the_deadline_is_for_everything_together(server, path):
    error = refusal(downloader(server, seconds=0.3), server.address + path)
    assert (error.reason, error.may_pass) == ("no answer within 0.3 seconds", True)


@pytest.mark.parametrize("path", ["/endless/", "/large/"])
def test_no_more_is_read_than_a_picture_may_have(server, settings, path):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_IMAGE_BYTES": 100_000}
    with pytest.raises(ImageTooLarge):
        downloader(server).fetch(server.address + path)


@pytest.mark.parametrize("path", ["/html/a.jpg", "/half-unsaid/a.jpg"])
def test_what_only_says_that_it_is_a_picture_is_for_the_decoder_to_refuse(server, path):
    with pytest.raises(ImageUnreadable):
        decode(downloader(server).fetch(server.address + path))


def test_a_name_server_that_does_not_answer_costs_no_more_than_the_deadline(server, monkeypatch):
    monkeypatch.setattr(http.socket, "getaddrinfo", lambda *_, **__: server.stopping.wait())
    assert refusal(Downloader(seconds=0.2), "https://pictures.example/a.jpg").may_pass


# What is refused.


@pytest.mark.parametrize(
    "address",
    [
        "http://pictures.example/a.jpg",
        "ftp://pictures.example/a.jpg",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "//pictures.example/a.jpg",
        "https://pictures.example:8443/a.jpg",
        "https://pictures.example:80/a.jpg",
        "https://user@pictures.example/a.jpg",
        "https://user:word@pictures.example/a.jpg",
        "https://pictures.example\\@127.0.0.1/",
        "https://pictures.example/a.jpg\r\nX-More: 1",
        "https:///a.jpg",
        "https://ⓛocalhost/",
        "https://" + "a" * 2_000,
        "https://\ud800/",
        "https://pictures.example:99999/",
        "",
    ],
)
def test_an_address_that_is_not_to_be_asked_is_not_even_looked_up(address, monkeypatch):
    monkeypatch.setattr(http, "_look_up", lambda *_: pytest.fail("it was looked up"))
    refusal(Downloader(), address)


@pytest.mark.parametrize("host", ["[::1%25eth0]", "[fe80::1%eth0]", "a..b", "a b", "%31", "x" * 300])
def test_a_host_that_cannot_be_one_is_not_found(host):
    assert not refusal(Downloader(), f"https://{host}/").may_pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0", "2130706433", "0x7f.1", "127.1", "[::1]"])
def test_this_machine_is_not_asked_however_its_name_is_written(server, host):
    asked = Downloader(schemes=("http",), ports=(server.port,))
    assert "not on the public internet" in refusal(asked, f"http://{host}:{server.port}/").reason
    assert server.requests == []


@pytest.mark.parametrize("to", ["http://127.0.0.2:{port}/good/a.jpg", "http://169.254.169.254/latest/"])
def test_a_redirect_to_a_private_address_is_refused(server, to):
    to = to.format(port=server.port)
    error = refusal(downloader(server), f"{server.address}/redirect/?to={to}")
    assert "not on the public internet" in error.reason
    assert len(server.requests) == 1


@pytest.mark.parametrize("to", ["http://pictures.example/a.jpg", "file:///etc/passwd"])
def test_a_redirect_does_not_leave_https(server, to, tls):
    error = refusal(
        downloader(server, schemes=("https",), ports=(tls,)), f"https://shop.test:{tls}/redirect/?to={to}"
    )
    assert error.reason == "only https addresses are fetched"


def resolver(*answers):
    """A name server that gives these answers one after the other, then the last one for ever; and what was asked."""
    asked, system = [], socket.getaddrinfo

    def look_up(host, port, *arguments, **options):
        if host[0].isdigit():  # an address, as the connection is made
            return system(host, port, *arguments, **options)
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return look_up, asked


def test_a_name_server_that_changes_its_mind_gains_nothing(server, monkeypatch):
    """What was checked is what is connected to: the name is looked up once for each request."""
    look_up, asked = resolver(["127.0.0.1"], ["127.0.0.2"])
    monkeypatch.setattr(http.socket, "getaddrinfo", look_up)
    address = f"http://pictures.example:{server.port}"
    assert downloader(server).fetch(f"{address}/good/a.jpg") == jpeg("/good/a.jpg")
    assert asked == ["pictures.example"]
    assert server.requests[0][1]["Host"] == f"pictures.example:{server.port}"
    assert "127.0.0.2" in refusal(downloader(server), f"{address}/good/a.jpg").reason


def test_a_name_with_one_private_address_among_others_is_refused(server, monkeypatch):
    look_up, _ = resolver(["127.0.0.1", "10.0.0.1"])
    monkeypatch.setattr(http.socket, "getaddrinfo", look_up)
    assert "10.0.0.1" in refusal(downloader(server), f"http://pictures.example:{server.port}/good/").reason
    assert server.requests == []


def test_where_one_address_is_dead_the_next_one_is_asked(server, monkeypatch):
    look_up, _ = resolver(["127.0.0.3", "127.0.0.1"])
    monkeypatch.setattr(http.socket, "getaddrinfo", look_up)
    # The server listens at 127.0.0.1 alone.
    found = downloader(server, networks=("127.0.0.0/8",)).fetch(f"http://a.example:{server.port}/good/a.jpg")
    assert found == jpeg("/good/a.jpg")


# TLS: the address is pinned, the name is kept.


@pytest.fixture
def tls(tmp_path, monkeypatch):
    """The port of a server that shows a certificate for shop.test, which is believed, at this machine's address."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=shop.test"),
            *("-addext", "subjectAltName=DNS:shop.test"),
        ],
        check=True,
        capture_output=True,
    )
    trusting = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(http, "_tls", lambda: trusting)
    look_up, _ = resolver(["127.0.0.1"])
    monkeypatch.setattr(http.socket, "getaddrinfo", look_up)
    with picture_server() as running:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        running.server.socket = context.wrap_socket(running.server.socket, server_side=True)
        yield running.port


def test_the_certificate_is_checked_for_the_name_although_the_address_is_what_is_connected_to(server, tls):
    asked = downloader(server, ports=(tls,))
    assert asked.fetch(f"https://shop.test:{tls}/good/a.jpg") == jpeg("/good/a.jpg")
    assert "certificate" in (error := refusal(asked, f"https://other.test:{tls}/good/a.jpg")).reason
    assert not error.may_pass
