"""A server of pictures on this machine that misbehaves as the addresses of a large catalogue do."""

import io
import random
import threading
from collections import Counter
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from PIL import Image

HTML = b"<!doctype html><title>Sorry</title><p>Not here.</p>"


@cache
def jpeg(name, side=64):
    """A picture like no other: noise that follows from the name."""
    noise = random.Random(name).randbytes(8 * 8 * 3)
    content = io.BytesIO()
    Image.frombytes("RGB", (8, 8), noise).resize((side, side), Image.Resampling.NEAREST).save(content, "JPEG")
    return content.getvalue()


class PictureServer:
    """``/good/a.jpg`` is a picture; the first part of any other path says what is wrong with its answer."""

    def __init__(self):
        self.requests = []
        """The path and the headers of each, in order."""
        self.pictures = Counter()
        """How often each path was asked for."""
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.gate = threading.Event()
        self.held_after = None
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.ours = self
        self.port = self.server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"

    def hold_after(self, requests):
        """So many more are answered; those that follow wait until they are released."""
        self.gate.clear()
        self.held_after = len(self.requests) + requests

    def release(self):
        self.held_after = None
        self.gate.set()

    def start(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.stopping.set()
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def picture_server():
    server = PictureServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """Clients that go away are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        ours, parts = self.server.ours, urlsplit(self.path)
        with ours.lock:
            ours.requests.append((self.path, dict(self.headers)))
            ours.pictures[self.path] += 1
            times = ours.pictures[self.path]
            is_held = ours.held_after is not None and len(ours.requests) > ours.held_after
        if is_held:
            ours.gate.wait()
        behaviour = parts.path.split("/")[1].replace("-", "_")
        answer = getattr(self, f"answer_{behaviour}", self.answer_missing)
        answer(parts, times)

    def answer_good(self, parts, times):
        self.send(200, jpeg(parts.path))

    def answer_missing(self, parts, times):
        self.send(404, HTML, "text/html")

    def answer_busy(self, parts, times):
        self.send(503, HTML, "text/html")

    def answer_busy_once(self, parts, times):
        if times == 1:
            self.send(503, HTML, "text/html", **{"Retry-After": "0"})
        else:
            self.send(200, jpeg(parts.path))

    def answer_html(self, parts, times):
        self.send(200, HTML)

    def answer_half(self, parts, times):
        content = jpeg(parts.path)
        self.send(200, content[: len(content) // 2], length=len(content))

    def answer_half_unsaid(self, parts, times):
        content = jpeg(parts.path)
        self.send(200, content[: len(content) // 2], length=None)

    def answer_large(self, parts, times):
        self.send(200, b"", length=1_000_000_000)

    def answer_endless(self, parts, times):
        self.send(200, b"", length=None)
        while not self.server.ours.stopping.is_set():
            self.wfile.write(b"\xff" * 65_536)

    def answer_silent(self, parts, times):
        self.server.ours.stopping.wait()

    def answer_drops(self, parts, times):
        """A byte of a header now and then: each is in time, and there is no end."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drops: ")
        while not self.server.ours.stopping.wait(0.05):
            self.wfile.write(b".")

    def answer_garbage(self, parts, times):
        self.wfile.write(random.Random(parts.path).randbytes(2_000))

    def answer_hangs_up(self, parts, times):
        self.close_connection = True

    def answer_redirect(self, parts, times):
        self.send(302, b"", Location=parse_qs(parts.query)["to"][0])

    def answer_loop(self, parts, times):
        self.send(302, b"", Location=self.path)

    def send(self, status, content, kind="image/jpeg", length=..., **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(len(content) if length is ... else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, *arguments):
        """Nothing: what was asked is in ``requests``."""
