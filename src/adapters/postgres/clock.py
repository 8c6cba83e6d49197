"""The database's clock, by which every process goes: a machine whose own clock is wrong does no harm."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from adapters.postgres.database import Database
from adapters.stopping import stopped

_ASK_EVERY = 10.0
_ALSO_ASLEEP = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # on macOS the monotonic one does it by itself


def monotonic() -> float:
    """Seconds that have passed, those during which the machine slept included."""
    return time.clock_gettime(_ALSO_ASLEEP)


class PostgresClock:
    """Implements the port Clock: what the database last said, and what has passed since by a clock that nobody sets.

    It asks at the start and every ten seconds. While the database is away, or the machine sleeps, it goes on by itself.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._began: datetime | None = None  # what it was at 0 of the monotonic clock
        self._task: asyncio.Task[None] | None = None

    def now(self) -> datetime:
        if self._began is None:
            raise RuntimeError("start() comes before now()")
        return self._began + timedelta(seconds=monotonic())

    async def start(self) -> None:
        """Raises StoreUnavailableError when the database does not answer."""
        await self.ask()
        self._task = asyncio.create_task(self._keep_asking(), name="clock")

    async def close(self) -> None:
        if self._task:
            await stopped(self._task)

    async def ask(self) -> None:
        """Go by what the database says, unless that may be only for how long the question took."""
        asked = monotonic()
        ((said,),) = await self._database.rows("SELECT clock_timestamp()")
        answered = monotonic()
        began = said.astimezone(UTC) - timedelta(seconds=(asked + answered) / 2)
        if self._began is None or abs(began - self._began) > timedelta(seconds=(answered - asked) / 2):
            self._began = began

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(_ASK_EVERY)
            with suppress(Exception):  # whatever the database said, it is asked again
                await self.ask()
