"""Hearing of captured mails as they come in: one LISTEN for a process, for as long as anybody watches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.bell import Bell
from adapters.postgres.captured_mails import CAPTURED_MAILS_CHANNEL
from adapters.postgres.listener import listen

LISTENER = "carillon mailbox"
"""What the connection is called in pg_stat_activity."""


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
            self._listening = asyncio.create_task(
                listen(self._conninfo, [CAPTURED_MAILS_CHANNEL], self._ring, name=LISTENER),
                name="listen for captured mails",
            )
        bell.ring()
        try:
            yield bell
        finally:
            self._bells.discard(bell)
            if not self._bells:
                self._listening.cancel()
                self._listening = None

    def _ring(self, _: object = None) -> None:
        for bell in self._bells:
            bell.ring()
