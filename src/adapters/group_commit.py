"""Saves that wait at the same moment are written as one."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

from adapters.person_keys import WrappedKey
from application.ports import StoreUnavailableError
from domain.notification import Due

_MOST_EVENTS = 2_000
_ANSWER_SECONDS = 15.0
"""Longer than the writer waits for a connection and for a lock, each twice: only a frozen server takes as long."""


class DueRow(msgspec.Struct, frozen=True):
    """What the schedule has to say of one notification from now on; `due` None: nothing is left to do."""

    notification: UUID
    tenant: str
    channel: str
    lane: str
    head_start: timedelta
    due: Due | None
    at_once: bool


class Append(msgspec.Struct, frozen=True):
    """One caller's events with the work that follows from them: stored all together or not at all.

    `seen` are the streams that must not have grown beyond these lengths.
    """

    events: list[StoredEvent]
    due: list[DueRow]
    keys: list[WrappedKey]
    seen: Mapping[UUID, int] = {}


Writer = Callable[[Sequence[Append]], "list[int | Exception]"]
"""Writes many appends in one transaction; answers, for each, the position of its last event or why it was refused."""


class ClosedError(Exception):
    """The process is stopping: nothing is accepted any more."""


class GroupCommit:
    """A queue in front of a writer that takes whatever waits. It needs no timer: while it writes, the next lot gathers.

    The events of a caller who was cancelled or gave up may be stored all the same, as after a lost connection.
    """

    def __init__(self, write: Writer) -> None:
        self._write = write
        self._waiting: list[tuple[Append, asyncio.Future[int]]] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="append")
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def put(self, append: Append) -> int:
        """The position of the append's last event, once durable; raises what the writer refused it for.

        Raises StoreUnavailableError after 15 s: the events may be stored all the same.
        """
        if self._closed:
            raise ClosedError
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="group commit")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((append, future))
        self._arrived.set()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await future
        except TimeoutError:
            self._waiting = [(each, theirs) for each, theirs in self._waiting if not theirs.done()]
            raise StoreUnavailableError("the log was not written in time") from None

    async def close(self) -> None:
        """Write what waits, then stop."""
        self._closed = True
        self._arrived.set()
        if self._task:
            await self._task
        self._thread.shutdown()

    async def _run(self) -> None:
        while not self._closed or self._waiting:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._write_lot(self._take())

    def _take(self) -> list[tuple[Append, "asyncio.Future[int]"]]:
        events = 0
        for taken, (append, _) in enumerate(self._waiting, start=1):  # noqa: B007 - how many fit is the point
            events += len(append.events)
            if events >= _MOST_EVENTS:
                break
        lot, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return lot

    async def _write_lot(self, lot: "list[tuple[Append, asyncio.Future[int]]]") -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._write, [append for append, _ in lot])
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            answers = [error] * len(lot)
        for (_, future), answer in zip(lot, answers, strict=True):
            if future.done():  # cancelled meanwhile
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
