"""Somebody holds a lock on the table of the log, as a migration by hand would."""

import time

import psycopg
import pytest

from adapters.postgres import database
from tests.application import running, until, welcome

API = "/api/v1/notifications"


async def test_whoever_has_to_read_a_locked_log_is_told_so_and_then_all_goes_on(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_LOCK_SECONDS", 1)
    async with running(conninfo) as service:
        tenant = await service.tenant()
        await tenant.send_one()
        with psycopg.connect(conninfo) as somebody:
            somebody.execute("LOCK TABLE stored_events IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            answer = await tenant.post(API, welcome("not-seen-before@example.com"))
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            assert time.monotonic() - began < 8  # who only appends waits for twice five seconds

        async def is_taken() -> bool:
            return (await tenant.post(API, welcome("not-seen-before@example.com"))).status_code == 202

        await until(is_taken, within=10)
        await service.idle()
