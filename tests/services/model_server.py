"""A real server process that speaks the wire formats of model servers, well or badly, as a test tells it.

``python -m tests.services.model_server`` prints its port. It answers the n-th question by the n-th step that it was
told, and any further one by the last; a step is the name of one of the functions below.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import pytest

from tests import ROOT

DRIP_SECONDS = 0.02


class ModelServerProcess:
    """The server, and what it was asked."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.services.model_server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,  # at its end the server ends, so that it never outlives the tests
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def will(self, *steps, content="", body=None):
        """From now on it does this; ``content`` is what the model writes, ``body`` the whole answer instead."""
        self._control({"steps": steps, "content": content, "body": body})

    @property
    def requests(self):
        """What it was asked since it was told what to do: path, headers and question, in turn."""
        return self._control(None)

    def _control(self, order):
        content = None if order is None else json.dumps(order).encode()
        with urlopen(Request(f"http://127.0.0.1:{self.port}/control", content), timeout=30) as response:
            return json.load(response)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def model_server_process():
    server = ModelServerProcess()
    yield server
    server.stop()


@pytest.fixture
def model_server(model_server_process):
    """Writes nothing until it is told to."""
    model_server_process.will("write")
    return model_server_process


class Script:
    """What is to be done, and what was asked."""

    lock = threading.Lock()
    steps = ("write",)
    content = ""
    body = None
    requests = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path != "/control":
            return self.take_note(None)
        with Script.lock:
            return self.say(json.dumps(Script.requests).encode())

    def do_POST(self):
        received = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/control":
            return self.take_note(received)
        with Script.lock:
            Script.steps, Script.content = received["steps"], received["content"]
            Script.body, Script.requests = received["body"], []
        return self.say(b"{}")

    def take_note(self, question):
        with Script.lock:
            step = Script.steps[min(len(Script.requests), len(Script.steps) - 1)]
            asked = {"path": self.path, "headers": dict(self.headers), "question": question}
            Script.requests.append(asked)
        self.close_connection = True
        with suppress(OSError):  # the client has had enough
            STEPS[step](self, question)

    def say(self, content, status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)


def completion(content):
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode()


def write(handler, question):
    """What the test wants, whatever was asked."""
    body = Script.body
    handler.say(completion(Script.content) if body is None else json.dumps(body).encode())


def obey(handler, question):
    """As a server that honours the schema: all numbers of it, backwards."""
    schema = question["response_format"]["json_schema"]["schema"]
    said = {name: f"The {name}." for name in schema["required"]}
    said["ranking"] = schema["properties"]["ranking"]["items"]["enum"][::-1]
    handler.say(completion(json.dumps(said)))


def decide(handler, question):
    """As /v1/systemone answers a choice: the later, the likelier."""
    options = list(question["questions"]["best"]["criteria"])
    total = len(options) * (len(options) + 1) / 2
    probabilities = {option: (place + 1) / total for place, option in enumerate(options)}
    answer = {"type": "choice", "choice": options[-1], "confidence": 0.5, "probabilities": probabilities}
    handler.say(json.dumps({"model": question["model"], "answers": {"best": answer}}).encode())


def parts(handler, question):
    handler.say(completion([{"type": "text", "text": Script.content}]))


def silent(handler, question):
    handler.say(completion(None))


def hang(handler, question):
    handler.connection.settimeout(30)
    handler.rfile.read(1)  # until the client leaves


def drip_headers(handler, question):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    while True:
        handler.wfile.write(b".")
        time.sleep(DRIP_SECONDS)


def drip_body(handler, question):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        handler.wfile.write(b"1\r\n \r\n")
        time.sleep(DRIP_SECONDS)


def say_continue(handler, question):
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(DRIP_SECONDS)


def close(handler, question):
    handler.connection.shutdown(socket.SHUT_RDWR)


def reset(handler, question):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def cut_off(handler, question):
    content = completion(Script.content)
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
    handler.wfile.write(content[: len(content) // 2])


def cut_off_chunk(handler, question):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{")


def broken_json(handler, question):
    handler.say(completion(Script.content)[:-9])


def html(handler, question):
    handler.say(b"<html><title>Back soon</title></html>")


def binary(handler, question):
    handler.say(bytes(range(256)) * 8)


def deep_json(handler, question):
    handler.say(b"[" * 500_000)


def no_http(handler, question):
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n")


def many_headers(handler, question):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-Padding: .\r\n" * 500)


def huge(handler, question):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def huge_length(handler, question):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    while True:
        handler.wfile.write(b" " * 0x10000)


def error_in_200(handler, question):
    handler.say(json.dumps({"error": {"message": "The upstream is busy.", "code": 502}}).encode())


def redirect(handler, question):
    handler.say(b"", 307, Location="/v1/elsewhere")


def echo(handler, question):
    """Quotes the request's headers, as careless servers do."""
    said = json.dumps(dict(handler.headers))
    handler.say(completion(said))


def refuse_key(handler, question):
    message = f"Incorrect API key provided: {handler.headers['Authorization']}"
    handler.say(json.dumps({"error": {"message": message}}).encode(), 401)


def refuse_field(handler, question):
    handler.say(json.dumps({"detail": "Unexpected fields in the request: response_format"}).encode(), 422)


def wait_long(handler, question):
    handler.say(b"{}", 429, Retry_After="3600")


def wait_briefly(handler, question):
    handler.say(b"{}", 429, Retry_After="0")


def status(number):
    return lambda handler, question: handler.say(b'{"error": {"message": "No."}}', number)


STEPS = {
    name: step
    for name, step in list(globals().items())
    if callable(step) and getattr(step, "__module__", "") == __name__ and not isinstance(step, type)
} | {str(number): status(number) for number in (204, 400, 403, 404, 408, 422, 500, 502, 503)}


def serve():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve()
