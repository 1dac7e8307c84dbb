"""A real PostgreSQL server of the tests' own, from Debian's package."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from django.db import connections

from tests.services.milvus import free_port

POSTGRES_USER = "postgres"


class PostgresCluster:
    """A cluster in a temporary folder. The server refuses to run as root, so root runs it as the user postgres."""

    def __init__(self, binaries):
        self.binaries = Path(binaries)
        self.folder = Path(tempfile.mkdtemp(prefix="shopsearch-postgres-"))
        self.port = free_port()

    def start(self):
        if os.geteuid() == 0:
            user = pwd.getpwnam(POSTGRES_USER)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        data = str(self.folder / "data")
        self._run(
            "initdb", "-D", data, "-A", "trust", "-U", "shop", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"
        )
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", data, "-w", "-l", str(self.folder / "log"), "-o", options, "start")
        return self

    def create_database(self, name):
        """Django's settings for a new, empty database."""
        self._run("createdb", "-h", str(self.folder), "-p", str(self.port), "-U", "shop", name)
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": "shop",
            "HOST": "127.0.0.1",
            "PORT": self.port,
        }

    def stop(self):
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program, *arguments):
        as_postgres = ["runuser", "-u", POSTGRES_USER, "--"] if os.geteuid() == 0 else []
        subprocess.run(
            [*as_postgres, str(self.binaries / program), *arguments],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server that all tests share; take databases of your own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed")
    cluster = PostgresCluster(found[-1].parent).start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request, django_db_modify_db_settings):
    """With SHOPSEARCH_TEST_DATABASE=postgresql every test that has a database has one there, in place of SQLite."""
    if os.environ.get("SHOPSEARCH_TEST_DATABASE") == "postgresql":
        there = request.getfixturevalue("postgres").create_database("shop")
        del connections["default"]
        connections.settings = connections.configure_settings({"default": there})
