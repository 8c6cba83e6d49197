"""Saves that wait at the same moment are written as one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

from adapters.person_keys import WrappedKey
from application.ports.log import StoreUnavailableError
from domain.notification import Due

_MOST_EVENTS = 2_000
_COMPANY_SECONDS = 0.008
_REST, _LONGEST_REST = 1, 0.005
"""The next lot gathers for as long as the last one took, at most so many seconds: three at once cost hardly more."""

_LOOK_EVERY = 1.0
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
    bundle: UUID | None = None


class LaneRow(msgspec.Struct, frozen=True):
    """The terms of one lane of the schedule from now on; without a row there are none but those of every lane.

    `dropped`: there is none any more, so that nothing of it is held back.
    """

    channel: str
    lane: str
    concurrency: int | None
    per_second: float | None
    held: bool
    dropped: bool = False


class Append(msgspec.Struct, frozen=True):
    """One caller's events with the work that follows from them: stored all together or not at all.

    `seen` are the streams that must not have grown beyond these lengths.
    """

    events: list[StoredEvent]
    due: list[DueRow]
    keys: list[WrappedKey]
    lanes: list[LaneRow] = []
    seen: Mapping[UUID, int] = {}


Writer = Callable[[Sequence[Append]], Awaitable[list[int | Exception]]]
"""Writes many appends in one transaction; answers, for each, the position of its last event or why it was refused."""


class ClosedError(Exception):
    """The process is stopping: nothing is accepted any more."""


class _Caller(msgspec.Struct):
    """Who waits for an append, and since when by the loop's clock."""

    append: Append
    answer: "asyncio.Future[int]"
    since: float


class GroupCommit:
    """A queue in front of a writer that takes whatever waits; while one lot is written, the next one gathers.

    The events of a caller who was cancelled or gave up may be stored all the same, as after a lost connection.
    """

    def __init__(self, write: Writer) -> None:
        self._write = write
        self._waiting: list[_Caller] = []
        self._written: list[_Caller] = []
        self._arrived = asyncio.Event()
        self._will_ring = False
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    async def put(self, append: Append, *, urgent: bool = True) -> int:
        """The position of the append's last event, once durable; raises what the writer refused it for.

        One that is not urgent waits a few milliseconds for others to go with. Raises StoreUnavailableError after some
        15 s: the events may be stored all the same.
        """
        if self._closed:
            raise ClosedError
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="group commit")
        if self._watch is None:
            self._watch = loop.call_later(_LOOK_EVERY, self._dismiss_late)
        caller = _Caller(append, loop.create_future(), loop.time())
        self._waiting.append(caller)
        if urgent:
            self._arrived.set()
        elif not self._will_ring:
            self._will_ring = True
            loop.call_later(_COMPANY_SECONDS, self._ring)
        return await caller.answer

    def _ring(self) -> None:
        self._will_ring = False
        self._arrived.set()

    async def close(self) -> None:
        """Write what waits, then stop."""
        self._closed = True
        self._arrived.set()
        if self._task:
            await self._task
        if self._watch:
            self._watch.cancel()

    async def _run(self) -> None:
        while not self._closed or self._waiting:
            await self._arrived.wait()
            self._arrived.clear()
            lot = self._take()
            if self._waiting or self._closed:
                self._arrived.set()
            if lot:
                await self._write_lot(lot)

    def _take(self) -> list[_Caller]:
        events = taken = 0
        for taken, caller in enumerate(self._waiting, start=1):  # noqa: B007 - how many fit is the point
            events += len(caller.append.events)
            if events >= _MOST_EVENTS:
                break
        lot, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return lot

    async def _write_lot(self, lot: list[_Caller]) -> None:
        self._written = lot
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answers = await self._write([caller.append for caller in lot])
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            answers = [error] * len(lot)
        self._written = []
        for caller, answer in zip(lot, answers, strict=True):
            if caller.answer.done():  # gone meanwhile
                continue
            if isinstance(answer, Exception):
                caller.answer.set_exception(answer)
            else:
                caller.answer.set_result(answer)
        if not self._closed:
            await asyncio.sleep(min(_LONGEST_REST, _REST * (loop.time() - began)))

    def _dismiss_late(self) -> None:
        """One look at all of them: a timer for each caller would be a cost of every message."""
        loop = asyncio.get_running_loop()
        late = loop.time() - _ANSWER_SECONDS
        for caller in [*self._written, *self._waiting]:
            if caller.since < late and not caller.answer.done():
                caller.answer.set_exception(StoreUnavailableError("the log was not written in time"))
        self._waiting = [caller for caller in self._waiting if not caller.answer.done()]
        busy = self._waiting or self._written
        self._watch = loop.call_later(_LOOK_EVERY, self._dismiss_late) if busy else None
