"""Where the demo's servers are: one Redis for Celery and for Django's cache, which spell its address differently."""

import fcntl

import pytest
import redis
from kombu import Connection
from kombu.transport.redis import Channel

from demo_project.addresses import Addresses, cache_at, read_addresses, write_addresses


class Unconnected(Channel):
    """What Celery would connect to."""

    def __init__(self, url):
        self.connection = Connection(url).transport
        self.max_connections = 1


def place(options):
    names = ("host", "port", "path", "username", "password")
    verified = (
        redis.SSLConnection(ssl_cert_reqs=options["ssl_cert_reqs"]).cert_reqs
        if "ssl_cert_reqs" in options
        else None
    )
    return {name: options.get(name) for name in names}, options.get("db") or 0, verified


@pytest.mark.parametrize(
    "broker",
    [
        "redis://127.0.0.1:6379/0",
        "redis://localhost:6379/",
        "redis://:p%2Fw@localhost:6380/3",
        "rediss://user:pw@localhost:6380/3?ssl_cert_reqs=CERT_NONE",
        "rediss://localhost:6379?ssl_cert_reqs=required",
        "redis+socket:///tmp/redis.sock",
        "redis+socket:///tmp/redis.sock?virtual_host=3",
        "redis+socket:///tmp/redis.sock?virtual_host=/3",
        "redis+socket://user:pw@/tmp/redis.sock",
    ],
)
def test_the_cache_is_in_the_brokers_redis(broker):
    ours = redis.ConnectionPool.from_url(cache_at(broker)).connection_kwargs
    assert place(ours) == place(Unconnected(broker)._connparams())


@pytest.mark.parametrize(
    "broker",
    ["memory://", "amqp://localhost//", "sentinel://a:26379;sentinel://b:26379", "redis://a;redis://b"],
)
def test_where_the_broker_is_no_single_redis_each_process_has_a_cache_of_its_own(broker):
    assert cache_at(broker) == ""


@pytest.fixture
def nothing_set(monkeypatch):
    for name in Addresses().as_environment():
        monkeypatch.delenv(name, raising=False)


RUNNING = Addresses(
    broker_url="redis+socket:///tmp/a/redis.sock",
    cache_url="unix:///tmp/a/redis.sock",
    milvus_uri="http://127.0.0.1:5",
    query_worker=True,
)


@pytest.mark.usefixtures("nothing_set")
def test_a_command_finds_the_servers_of_the_demo_that_is_running(tmp_path):
    write_addresses(tmp_path, RUNNING)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert read_addresses(tmp_path) == RUNNING


@pytest.mark.usefixtures("nothing_set")
def test_what_a_killed_launcher_left_behind_is_nobodys_address(tmp_path):
    write_addresses(tmp_path, RUNNING)
    assert read_addresses(tmp_path) == Addresses()
    (tmp_path / "lock").touch()
    assert read_addresses(tmp_path) == Addresses()
