"""Waking up when the log grows or work is due: LISTEN, with the clock as a second way in case a wake-up is lost."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from psycopg import Notify

from adapters.bell import Bell
from adapters.postgres.listener import listen
from adapters.stopping import stopped

EVENTS, WORK = "stored_events", "due_work"
"""Rung by every commit of the log, and by what leaves something to be dispatched, which names the channel."""

LISTENER = "carillon listener"
"""What these connections are called in pg_stat_activity, with their subject."""

_RESTS = {EVENTS: 0.03, WORK: 0.002}
"""Seconds. Who follows the log rests as long; who dispatches is what a message waits for."""


class Addressee(Protocol):
    """Who is told of something by PostgreSQL, on a subject of its own."""

    notices: str
    lock: tuple[int, str]
    """Held while it listens."""

    def hear(self, notices: Sequence[Notify]) -> None: ...


class PostgresWakeups:
    """One listening connection for a process that has a follower; each waits on a bell of its own.

    A connection that was broken rings all, for something may have been missed. Who is `beside` hears by the same one,
    for each that listens costs something at every notice.
    """

    def __init__(self, conninfo: str, subject: str = EVENTS, beside: Addressee | None = None) -> None:
        self._conninfo = conninfo
        self._subject = subject
        self._beside = beside
        self._bells: list[tuple[str | None, Bell]] = []
        self._task: asyncio.Task[None] | None = None

    def bell(self, about: str | None = None) -> Bell:
        """Rung from now on, by what is about this or, without one, by all. Nobody listens before the first one."""
        bell = Bell()
        self._bells.append((about, bell))
        if self._task is None:
            name = f"{LISTENER} {self._subject}"
            subjects, lock = [self._subject], None
            if self._beside:
                subjects.append(self._beside.notices)
                lock = self._beside.lock
            rest = _RESTS[self._subject]
            listening = listen(self._conninfo, subjects, self._hear, name=name, rest=rest, lock=lock)
            self._task = asyncio.create_task(listening, name="listen")
        return bell

    async def close(self) -> None:
        if self._task:
            await stopped(self._task)

    def _hear(self, notices: Sequence[Notify]) -> None:
        if self._beside and (mine := [notice for notice in notices if notice.channel == self._beside.notices]):
            self._beside.hear(mine)
        said = {notice.payload for notice in notices if notice.channel == self._subject}
        if said or not notices:
            self._ring(said)

    def _ring(self, said: set[str]) -> None:
        for about, bell in self._bells:
            if not said or about is None or about in said:
                bell.ring()
