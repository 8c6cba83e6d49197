"""The schedule of this process, leased by a clock of its own."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec

from adapters.group_commit import DueRow
from application.ports import Backlog, Clock, Lease
from domain.vocabulary import Channel

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)


class _Work(msgspec.Struct):
    notification: UUID
    channel: str
    lane: str
    head_start: timedelta
    due_at: datetime
    rank_at: datetime
    lease_until: datetime | None = None
    token: UUID | None = None
    unreadable: int = 0


class MemoryDueWork:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._schedule: dict[UUID, _Work] = {}

    def write(self, rows: Iterable[DueRow]) -> None:
        """What the event store does in the same step as it appends."""
        for row in rows:
            if row.due is None:
                self._schedule.pop(row.notification, None)
            else:
                at = self._clock.now() if row.at_once else row.due.at
                self._schedule[row.notification] = _Work(
                    row.notification, row.channel, row.lane, row.head_start, at, at + row.head_start
                )

    async def lease(self, channel: Channel, limit: int, window: int, duration: timedelta) -> list[Lease]:
        held = sum(self._is_held(work) for work in self._on(channel))
        places = max(0, min(limit, window - held))
        chosen = _in_turn(work for work in self._on(channel) if self._is_ready(work))[:places]
        token = uuid4()
        for work in chosen:
            work.token = token
            self._hold(work, duration)
        return [Lease(work.notification, token, channel) for work in chosen]

    async def renew(
        self, leases: Sequence[Lease], duration: timedelta, *, enough: timedelta | None = None
    ) -> list[Lease]:
        kept = [(lease, work) for lease in leases if (work := self._leased(lease))]
        for _, work in kept:
            if work.lease_until is None or work.lease_until < self._clock.now() + (enough or duration):
                self._hold(work, duration)
        return [lease for lease, _ in kept]

    async def release(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            if work := self._leased(lease):
                work.lease_until = work.token = None
                work.rank_at = work.due_at + work.head_start

    async def set_aside(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            if work := self._leased(lease):
                work.lease_until = work.token = None
                work.due_at = self._clock.now() + min(_MINUTE * 2 ** min(work.unreadable, 10), _HOUR)
                work.rank_at = work.due_at + work.head_start
                work.unreadable += 1

    async def drop(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            if self._leased(lease):
                del self._schedule[lease.notification]

    async def next_due(self, channel: Channel) -> timedelta | None:
        soonest = min((work.lease_until or work.due_at for work in self._on(channel)), default=None)
        return soonest - self._clock.now() if soonest else None

    async def backlog(self) -> list[Backlog]:
        return [self._backlog(channel) for channel in sorted({work.channel for work in self._schedule.values()})]

    def _backlog(self, channel: str) -> Backlog:
        works, now = self._on(channel), self._clock.now()
        due = [work for work in works if work.due_at <= now]
        return Backlog(
            channel,
            due=sum(not self._is_held(work) for work in due),
            later=len(works) - len(due),
            held=sum(self._is_held(work) for work in works),
            oldest=max((now - work.due_at for work in due), default=timedelta(0)),
            unreadable=sum(work.unreadable > 0 for work in works),
        )

    def _on(self, channel: str) -> list[_Work]:
        return [work for work in self._schedule.values() if work.channel == channel]

    def _is_held(self, work: _Work) -> bool:
        return work.lease_until is not None and work.lease_until > self._clock.now()

    def _is_ready(self, work: _Work) -> bool:
        return work.due_at <= self._clock.now() and not self._is_held(work)

    def _leased(self, lease: Lease) -> _Work | None:
        work = self._schedule.get(lease.notification)
        return work if work and work.token == lease.token else None

    def _hold(self, work: _Work, duration: timedelta) -> None:
        work.lease_until = self._clock.now() + duration
        work.rank_at = work.lease_until + work.head_start


def _in_turn(ready: Iterable[_Work]) -> list[_Work]:
    """The most urgent of each lane, then the second of each lane, and so on."""
    turns: dict[str, int] = defaultdict(int)
    ordered = []
    for work in sorted(ready, key=lambda work: work.rank_at):
        ordered.append((turns[work.lane], work))
        turns[work.lane] += 1
    return [work for _, work in sorted(ordered, key=lambda each: each[0])]
