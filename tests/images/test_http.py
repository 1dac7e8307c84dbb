"""One request over HTTP to a server that may do what it likes: what comes back, and that it always ends."""

import gzip
import socket
import threading

import pytest

from shopsearch.images import http

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def server():
    """Starts a server that does this with the first connection; its address."""
    listeners = []

    def start(behave):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve():
            connection, _ = listener.accept()
            with connection:
                behave(connection)

        threading.Thread(target=serve, daemon=True).start()
        return http.URL(f"http://127.0.0.1:{listener.getsockname()[1]}/")

    yield start
    for listener in listeners:
        listener.close()


def answering(content):
    def behave(connection):
        connection.recv(65_536)
        connection.sendall(content)

    return behave


def send(url, *, content=b"", seconds=30.0, **options):
    return http.send(
        "POST", url, headers={}, content=content, deadline=http.Deadline(seconds), max_bytes=1_000, **options
    )


def test_the_answer_is_given_with_its_status(server):
    response = send(server(answering(b"HTTP/1.1 404 No\r\nX-Kind: a\r\nContent-Length: 3\r\n\r\nabc")))
    assert (response.status, response.headers["x-kind"], response.body) == (404, "a", b"abc")


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, gzip", b"deflate"])
def test_a_compressed_answer_is_refused_and_never_unpacked(server, encoding):
    bomb = gzip.compress(bytes(100_000_000))[:900]
    answer = OK + b"Content-Encoding: " + encoding + b"\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb
    with pytest.raises(http.Failure, match="compressed"):
        send(server(answering(answer)))


@pytest.mark.parametrize("length", [b"", b"Content-Length: 1001\r\n"])
def test_an_answer_of_too_many_bytes_is_refused(server, length):
    with pytest.raises(http.AnswerTooLarge):
        send(server(answering(OK + length + b"\r\n" + b"x" * 1_001)))


def test_of_an_error_the_beginning_is_enough(server):
    response = send(server(answering(b"HTTP/1.1 500 No\r\n\r\n" + b"x" * 2_000)))
    assert response.body == b"x" * 1_000


def test_a_server_that_does_not_read_is_left_at_the_deadline(server):
    """More is sent than the system keeps for a reader."""
    done = threading.Event()
    with pytest.raises(http.Failure, match="no answer within"):
        send(server(lambda _: done.wait()), content=bytes(50_000_000), seconds=0.5)
    done.set()


def test_an_address_that_is_not_allowed_is_not_connected_to(server):
    url = server(lambda _: pytest.fail("it was connected to"))
    with pytest.raises(http.AddressRefused):
        send(url, allows=lambda address: False)
