"""Where the demo's servers are, and who may believe it."""

import fcntl

import pytest

from demo_project.addresses import Addresses, read_addresses, write_addresses
from demo_project.supervisor import Processes


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


@pytest.mark.parametrize(
    ("broker", "cache"),
    [(None, "unix:///"), ("redis://others.example.com:6379/0", "")],
    ids=["its own", "of others"],
)
def test_the_cache_is_in_the_demos_own_redis_and_in_none_that_others_write_to(
    broker, cache, monkeypatch, tmp_path
):
    """Django's cache reads pickles."""
    monkeypatch.delenv("DEMO_CACHE_URL", raising=False)
    monkeypatch.setenv("REDIS_URL", broker) if broker else monkeypatch.delenv("REDIS_URL", raising=False)
    found = Processes(demo_dir=tmp_path, port=1, milvus_port=2).addresses
    assert found.cache_url[: len("unix:///")] == cache
    if not broker:
        assert found.broker_url.removeprefix("redis+socket:") == found.cache_url.removeprefix("unix:")
