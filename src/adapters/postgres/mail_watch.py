"""Hearing of captured mails as they come in: one LISTEN for a process, for as long as anybody watches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg

from adapters.bell import Bell
from adapters.postgres.captured_mails import CAPTURED_MAILS_CHANNEL

LISTENER = "carillon mailbox"
"""What the connection is called in pg_stat_activity."""

_QUIET_SECONDS = 10.0
_LONGEST_BACKOFF = 2.0


class PostgresMailWatch:
    """The first who watches opens the connection, the last who leaves closes it.

    A broken connection is made again with back-off, and rings, for something may have been missed.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._bells: set[Bell] = set()
        self._listening: asyncio.Task[None] | None = None
        self.closed = False

    def close(self) -> None:
        """Tell all who watch to leave."""
        self.closed = True
        self._ring()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Bell]:
        """A bell that rings when the mailbox may hold something new, once at the start too."""
        bell = Bell()
        self._bells.add(bell)
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="listen for captured mails")
        bell.ring()
        try:
            yield bell
        finally:
            self._bells.discard(bell)
            if not self._bells:
                self._listening.cancel()
                self._listening = None

    async def _listen(self) -> None:
        backoff = 0.05
        while True:
            with suppress(psycopg.OperationalError, OSError, TimeoutError):
                async with await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True, application_name=LISTENER
                ) as connection:
                    await connection.execute(f"LISTEN {CAPTURED_MAILS_CHANNEL}")
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
