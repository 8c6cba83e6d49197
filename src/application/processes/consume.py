"""Taking in what other services say, batch by batch; a batch counts as read when all of it is stored or set aside."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from application.inbound.event import Record
from application.inbound.intake import Tally
from application.ports.log import StoreUnavailableError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Inflow(Protocol):
    """Records in the order of their partitions, at least once each. `joined`: it has its part of the partitions."""

    joined: bool

    async def next(self) -> Sequence[Record]:
        """What came next; nothing where for a while nothing came. What was not said to be done comes again, here or

        elsewhere, when this process ends or its partitions are given to another.
        """

    async def done(self, records: Sequence[Record]) -> None:
        """These need not come again. It does no harm to say it too late."""


class RecordCounts(Protocol):
    """How often what became of records, over all processes."""

    async def add(self, counts: Mapping[tuple[str, str], int]) -> None:
        """By topic and fact. Raises StoreUnavailableError."""

    async def all(self) -> dict[tuple[str, str], int]: ...


class ConsumeLog(Protocol):
    """Where each batch leaves its one line."""

    def taken(self, tally: Tally, records: int, milliseconds: float) -> None: ...

    def waits(self, error: Exception) -> None: ...


Take = Callable[[Sequence[Record]], Awaitable[Tally]]


async def consume(
    inflow: Inflow, take: Take, counts: RecordCounts, log: ConsumeLog, well: Callable[[], Awaitable[None]]
) -> None:
    """Until cancelled. While the store is away it waits, and nothing counts as read. `well`: it was let read."""
    while True:
        joined = inflow.joined
        records = await inflow.next()
        if joined:
            await well()
        if records:
            await _stored(records, take, counts, log)
            await inflow.done(records)


async def _stored(records: Sequence[Record], take: Take, counts: RecordCounts, log: ConsumeLog) -> None:
    began, pause = asyncio.get_running_loop().time(), _FIRST_PAUSE
    while True:
        try:
            tally = await take(records)
            await counts.add(tally)
        except StoreUnavailableError as error:
            log.waits(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            log.taken(tally, len(records), (asyncio.get_running_loop().time() - began) * 1000)
            return
