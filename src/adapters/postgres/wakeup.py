"""Waking up when the log grows: LISTEN, with the clock as a second way in case a wake-up is lost."""

import asyncio
from contextlib import suppress

import psycopg

from adapters.bell import Bell

_CHANNEL = "stored_events"
_QUIET_SECONDS = 10.0
_LONGEST_BACKOFF = 2.0


class PostgresWakeups:
    """One listening connection for a process; each follower waits on a bell of its own.

    A broken connection is made again with back-off, and counts as a wake-up, for something may have been missed.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._bells: list[Bell] = []
        self._task: asyncio.Task[None] | None = None

    def bell(self) -> Bell:
        bell = Bell()
        self._bells.append(bell)
        return bell

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="listen")

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        backoff = 0.05
        while True:
            with suppress(psycopg.OperationalError, OSError, TimeoutError):
                async with await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True, application_name="carillon listener"
                ) as connection:
                    await connection.execute(f"LISTEN {_CHANNEL}")
                    backoff = 0.05
                    await self._ring_on_notice(connection)
            self._ring()
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LONGEST_BACKOFF)

    async def _ring_on_notice(self, connection: psycopg.AsyncConnection) -> None:
        while True:
            self._ring()
            notices = [notice async for notice in connection.notifies(timeout=_QUIET_SECONDS, stop_after=1)]
            if not notices:
                await asyncio.wait_for(connection.execute("SELECT 1"), _QUIET_SECONDS)

    def _ring(self) -> None:
        for bell in self._bells:
            bell.ring()
