"""A database that takes everything and answers nothing, as when it is stopped or behind a network that swallows all."""

import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from adapters import group_commit
from adapters.embedded_postgres import EmbeddedPostgres
from adapters.postgres import database
from adapters.postgres.migrations import migrate
from tests.application import Service, Tenant, running, until, welcome

API = "/api/v1/notifications"


class Server:
    """A PostgreSQL of the test's own, which can be frozen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        postmaster = psutil.Process(int((self.folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0]))
        postmaster.suspend()
        processes = [postmaster, *postmaster.children(recursive=True)]
        self._signal(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(processes, signal.SIGCONT)

    def _signal(self, processes: list[psutil.Process], what: signal.Signals) -> None:
        for process in processes:
            process.send_signal(what)


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="carillon-frozen-") as folder:
        server = Server(Path(folder))
        with server.postgres:
            migrate(server.postgres.start())
            yield server


@pytest.fixture
async def service(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(group_commit, "_ANSWER_SECONDS", 1.5)
    monkeypatch.setattr(group_commit, "_LOOK_EVERY", 0.1)
    monkeypatch.setattr(database, "_ANSWER_SECONDS", 1.5)
    async with running(server.postgres.start()) as service:
        yield service


async def test_whoever_asks_a_frozen_database_is_told_so_and_then_all_goes_on(server: Server, service: Service) -> None:
    tenant = await service.tenant()
    await tenant.send_one()

    with server.frozen():
        began = time.monotonic()
        ready = await service.http.get("/health/ready")
        assert (ready.status_code, ready.json()["parts"]) == (503, {"database": "does not answer"})
        assert time.monotonic() - began < 3
        for method, path, body in (("GET", API, None), ("POST", API, welcome("a@example.com"))):
            began = time.monotonic()
            answer = await tenant.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert time.monotonic() - began < 10

    await until(lambda: _sent(tenant), within=10)
    await service.idle()


async def _sent(tenant: Tenant) -> Any:
    return (await tenant.post(API, welcome("b@example.com"))).status_code == 202
