"""A real Redis server in a process of its own."""

import shutil
import signal
import subprocess
import tempfile
from urllib.parse import quote

import pytest
import redis

from tests.services.milvus import free_port
from tests.services.waiting import wait_until


class RedisProcess:
    """``redis-server`` on a port that stays the same when it is restarted; it forgets everything then."""

    def __init__(self, port=0, password=""):
        self.port = port or free_port()
        self.password = password
        credentials = f":{quote(password, safe='')}@" if password else ""
        self.url = f"redis://{credentials}127.0.0.1:{self.port}/0"
        self.process = None

    def start(self):
        """Afterwards the server answers."""
        self.process = subprocess.Popen(
            [
                "redis-server",
                "--bind",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--save",
                "",
                "--appendonly",
                "no",
                *(("--requirepass", self.password) if self.password else ()),
            ],
            stdout=subprocess.DEVNULL,
            cwd=tempfile.gettempdir(),
        )
        wait_until(self.answers, "Redis answers")
        return self

    def answers(self):
        try:
            with self.client(socket_timeout=1) as client:
                return client.ping()
        except redis.RedisError:
            return False

    def client(self, **options):
        return redis.Redis(port=self.port, password=self.password or None, **options)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def suspend(self):
        """It accepts connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def redis_server():
    """A server of this test's own, to stop, suspend and start again."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    server = RedisProcess().start()
    yield server
    server.stop()


@pytest.fixture
def redis_with_password():
    """A server that answers whoever knows its password, which has the characters that an address gives a meaning."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    server = RedisProcess(password="p@ss/w:rd#100%").start()
    yield server
    server.stop()
