"""Telling other systems what happens to notifications."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Protocol
from uuid import UUID

from application.announced import TOPICS, Origin, announcement, is_told, origin_of
from application.ports.log import AlteredError, EventLog, EventStore, Recorded, StoreUnavailableError, Wakeup
from application.ports.publishing import Announcement, EventTopic, Troubles, Untold
from application.processes.bookmark import Place
from domain.ids import publishing_id
from domain.notification import Notification
from domain.personal import Letter
from domain.publishing import Publishing

BATCH = 1_000
MOST_KNOWN = 20_000
"""Origins that are remembered: what is told of a notification comes within seconds for the most part."""

PART = "publisher"
"""What it is called where troubles are told."""

_POLL = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_SHORTEST_REST, _REST_AN_EVENT, _LONGEST_REST = 0.03, 0.002, 0.25
_ASK_EVERY = 5.0


class PublisherLog(Protocol):
    """Where each batch leaves its one line, and what keeps one from being told. No personal data goes in."""

    def published(self, events: int, position: int, milliseconds: float) -> None: ...

    def unpublished(self, problem: str, position: int) -> None: ...


class Publisher:
    """Follows the log and moves its place only behind what was acknowledged: each event is told at least once.

    What was told beyond that place is not told again, for as long as this object lives; another one tells it again,
    under the same id. Of one notification nothing is told before what happened to it earlier.
    """

    def __init__(
        self,
        log: EventLog,
        events: EventStore,
        topic: EventTopic,
        place: Place,
        troubles: Troubles,
        lines: PublisherLog,
        batch: int = BATCH,
    ) -> None:
        self._log = log
        self._events = events
        self._topic = topic
        self._place = place
        self._troubles = troubles
        self._lines = lines
        self._batch = batch
        self._position: int | None = None
        self._ahead: set[str] = set()
        self._origins: OrderedDict[UUID, Origin] = OrderedDict()
        self._problem: str | None = None
        self._pause = _FIRST_PAUSE
        self._ask_at = 0.0

    async def run(self, wakeup: Wakeup) -> None:
        """Until cancelled."""
        await self._troubles.over(PART)  # those of whoever published before
        while True:
            moved = await self.turn()
            if self._problem:
                await asyncio.sleep(self._pause)
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            elif moved:
                rest = min(max(_SHORTEST_REST, _REST_AN_EVENT * moved), _LONGEST_REST)
                await asyncio.sleep(rest if moved < self._batch else 0)
            else:
                await wakeup.wait(_POLL)

    async def turn(self) -> int:
        """Tell of the next batch; answers how many events were looked at. While there is none, ask how things are."""
        if self._position is None:
            self._position = await self._place.position()
        head = await self._log.head()
        batch = await self._read() if head > self._position else []
        if batch:
            await self._tell(batch)
        elif asyncio.get_running_loop().time() >= self._ask_at:
            await self._note(await self._topic.problem())
        if not self._problem:
            await self._move(batch[-1].position if len(batch) == self._batch else max([head, *_positions(batch[-1:])]))
        return len(batch)

    async def _read(self) -> list[Recorded]:
        assert self._position is not None
        return await self._log.read(self._position, self._batch, TOPICS, personal=False)

    async def _tell(self, batch: Sequence[Recorded]) -> None:
        started = asyncio.get_running_loop().time()
        told = [recorded for recorded in batch if is_told(recorded.event)]
        announcements = await self._announcements([recorded.event for recorded in told])
        untold = await self._topic.publish([each for each in announcements if each.id not in self._ahead])
        if untold:
            await self._stand_before(untold, list(zip(_positions(told), announcements, strict=True)))
        else:
            self._ahead.clear()
            milliseconds = (asyncio.get_running_loop().time() - started) * 1000
            self._lines.published(len(told), batch[-1].position, milliseconds)
        await self._note(untold.problem if untold else None)

    async def _stand_before(self, untold: Untold, told: Sequence[tuple[int, Announcement]]) -> None:
        """Right before the first one that may not have arrived."""
        arrived = list(takewhile(lambda each: each[1].id not in untold.ids, told))
        self._ahead = {each.id for _, each in told[len(arrived) :]} - untold.ids
        if arrived:
            await self._move(arrived[-1][0])

    async def _move(self, position: int) -> None:
        if position != self._position:
            await self._place.move(position)
            self._position = position

    async def _note(self, problem: str | None) -> None:
        """Said once in the log, and again and again to those who ask for the troubles there are."""
        assert self._position is not None
        self._ask_at = asyncio.get_running_loop().time() + _ASK_EVERY
        if problem and problem != self._problem:
            self._lines.unpublished(problem, self._position)
        if problem:
            await self._troubles.tell(PART, problem)
        elif self._problem:
            await self._troubles.over(PART)
            self._pause = _FIRST_PAUSE
        self._problem = problem

    async def _announcements(self, events: Sequence[Any]) -> list[Announcement]:
        self._remember({e.originator_id: origin_of(e) for e in events if isinstance(e, Notification.Queued)})
        unknown = {event.originator_id for event in events} - self._origins.keys()
        histories = await asyncio.gather(*(self._events.history(id, personal=False) for id in unknown))
        self._remember({first.event.originator_id: origin_of(first.event) for first, *_ in histories})
        letters = await self._letters(events)
        found = [announcement(e, self._origins[e.originator_id], letters.get(e.originator_id)) for e in events]
        self._forget()
        return found

    def _remember(self, origins: Mapping[UUID, Origin]) -> None:
        self._origins.update(origins)

    def _forget(self) -> None:
        while len(self._origins) > MOST_KNOWN:
            self._origins.popitem(last=False)

    async def _letters(self, events: Iterable[Any]) -> dict[UUID, Letter]:
        """Of those whose tenants ask for personal data now. Of a webhook there is nobody, and its url is a secret."""
        mails = [event for event in events if event.channel != "webhook"]
        tenants = {event.tenant for event in mails}
        chosen = await self._events.get_many(Publishing, [publishing_id(tenant) for tenant in tenants])
        asking = {each.tenant for each in chosen.values() if each.personal_data}
        found = await self._readable({event.originator_id for event in mails if event.tenant in asking})
        return {id: each.letter for id, each in found.items() if isinstance(each.letter, Letter)}

    async def _readable(self, ids: Iterable[UUID]) -> dict[UUID, Notification]:
        """What nobody can read any more holds up nothing: the rest is told."""
        wanted = list(ids)
        if not wanted:
            return {}
        try:
            return await self._events.get_many(Notification, wanted)
        except StoreUnavailableError:
            raise
        except AlteredError:
            if len(wanted) == 1:
                return {}
            half = len(wanted) // 2
            return await self._readable(wanted[:half]) | await self._readable(wanted[half:])


def _positions(recorded: Iterable[Recorded]) -> list[int]:
    return [each.position for each in recorded]
