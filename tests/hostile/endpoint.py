"""The shop in a process of its own: the real WSGI application, asked over HTTP; what it takes is read from the system.

``python -m tests.hostile.endpoint`` prints its port, and ends when its input does.
"""

import json
import math
import os
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path

from tests import ROOT

BOUNDARY = "a-boundary-that-no-picture-has"


class Endpoint:
    """The process; ``options`` are its SHOPSEARCH."""

    def __init__(self, **options):
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.services.settings"}
        environment["TEST_SHOPSEARCH"] = json.dumps({"THROTTLE_RATE": None, **options})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.endpoint"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.port = int(self.process.stdout.readline())

    def search(self, picture, **fields):
        """The status and the answer, read as JSON."""
        body = b""
        for name, value in fields.items():
            body += (
                f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            )
        file = 'Content-Disposition: form-data; name="image"; filename="x"\r\nContent-Type: image/png'
        body += f"--{BOUNDARY}\r\n{file}\r\n\r\n".encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        connection.request("POST", "/api/search/", body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    def memory(self, what="VmRSS"):
        """Bytes that the process holds now, or (``VmHWM``) has held at most."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))

    def stop(self):
        """Whether it was alive until now, and ended as it was told to."""
        self.process.stdin.close()
        ended = self.process.wait(timeout=60)
        self.process.stdout.close()
        return ended == 0


def main():
    import django

    django.setup()
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    from shopsearch.api import access
    from shopsearch.indexing import batch
    from tests.shop.pictures import BLUE, GREEN, RED, product

    call_command("migrate", run_syncdb=True, verbosity=0)
    for colour in (RED, GREEN, BLUE):
        product(colour)
    list(batch.index_pending())

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args):
            pass

    access.LARGE_BURST_SECONDS = math.inf  # one comes right after the other
    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
