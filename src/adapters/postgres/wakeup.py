"""Waking up when the log grows: LISTEN, with the clock as a second way in case a wake-up is lost."""

import asyncio

from adapters.bell import Bell
from adapters.postgres.listener import listen
from adapters.stopping import stopped

_CHANNEL = "stored_events"


class PostgresWakeups:
    """One listening connection for a process that has a follower; each waits on a bell of its own.

    A broken connection is made again with back-off, and counts as a wake-up, for something may have been missed.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._bells: list[Bell] = []
        self._task: asyncio.Task[None] | None = None

    def bell(self) -> Bell:
        """Rung from now on. Nobody listens before the first one: every commit would wake the process for nothing."""
        bell = Bell()
        self._bells.append(bell)
        if self._task is None:
            listening = listen(self._conninfo, _CHANNEL, self._ring, name="carillon listener")
            self._task = asyncio.create_task(listening, name="listen")
        return bell

    async def close(self) -> None:
        if self._task:
            await stopped(self._task)

    def _ring(self) -> None:
        for bell in self._bells:
            bell.ring()
