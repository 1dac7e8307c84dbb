"""A real Milvus standalone, of the PyPI package ``milvus``, in a process and a network of its own.

It listens on all interfaces, so it runs where there is none but the loopback of a network namespace; the tests reach
it through a socket in a folder. 2.3.5 is the last version of that package; shopsearch asks for 2.5.
"""

import asyncio
import fcntl
import importlib.util
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests import ROOT

READY_SECONDS = 180
NAMESPACE = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"]
SET_FLAGS, IS_UP = 0x8914, 1


class MilvusStandaloneProcess:
    """Its data stays in the folder when it is started again. ``root:Milvus`` is its user, as in every fresh Milvus."""

    token = "root:Milvus"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.uri = f"unix:{self.folder / 'milvus.sock'}"
        self.process = None

    def start(self):
        """Afterwards the server answers."""
        self.process = subprocess.Popen(
            [*NAMESPACE, sys.executable, "-m", "tests.services.milvus_standalone", str(self.folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        readable, _, _ = select.select([self.process.stdout], [], [], READY_SECONDS)
        if not readable or self.process.stdout.readline() != "ready\n":
            self.kill()
            raise RuntimeError(f"Milvus did not get ready; its logs are in {self.folder / 'data' / 'logs'}")
        return self

    def kill(self):
        """End it, and with its namespace every process of it."""
        self.process.kill()
        self.process.wait(timeout=30)


def missing():
    """Why no Milvus standalone can be started here; "" where one can."""
    if importlib.util.find_spec("milvus") is None:
        return "the package milvus is not installed"
    if (
        shutil.which("unshare") is None
        or subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode
    ):
        return "this kernel gives the tests no network namespace, and Milvus would listen to the world"
    return ""


@pytest.fixture(scope="module")  # even idle it keeps a fifth of a core busy
def milvus_standalone():
    """A Milvus 2.3.5 that a module's tests share: its ``uri`` and ``token``; take collections of your own."""
    if reason := missing():
        pytest.skip(reason)
    folder = tempfile.mkdtemp(prefix="shopsearch-milvus-")
    server = MilvusStandaloneProcess(folder).start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


# Inside of the namespace


def raise_loopback():
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", IS_UP))


async def relay(path, port):
    """What connects to the socket in the folder is connected to the port, until the test's process has gone."""

    async def copy(reader, writer):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connect(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True)

    path.unlink(missing_ok=True)
    async with await asyncio.start_unix_server(connect, path):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


def serve(folder):
    from milvus import MilvusServer, MilvusServerConfig

    raise_loopback()
    server = MilvusServer(MilvusServerConfig(data_dir=str(folder / "data")))
    server.config.set("authorization_enabled", True)
    server.config.set("proxy.timeTickInterval", 20)  # milliseconds; what a read of the latest waits for
    server.start()
    asyncio.run(relay(folder / "milvus.sock", server.listen_port))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
