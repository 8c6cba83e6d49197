"""The schedule of this process, leased by a clock of its own."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Protocol
from uuid import UUID, uuid4

import msgspec

from adapters.group_commit import DueRow, LaneRow
from adapters.memory.budget import MemoryProviderBudget
from application.ports.due_work import Backlog, Lease, ProviderBudget, Turn
from application.ports.time_and_chance import Clock
from domain.breaker import PROVEN_FOR, SLOW_AFTER
from domain.subscription import SLOWEST
from domain.vocabulary import Channel

_SHARES = {"proven": 1, "slow": 1 / 2, "unproven": 1 / 4, "tried": 1 / 4}
"""What all lanes that stand like this may hold of the window together."""
_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)


class _Work(msgspec.Struct):
    notification: UUID
    channel: str
    lane: str
    head_start: timedelta
    due_at: datetime
    rank_at: datetime
    lease_until: datetime | None = None
    leased_at: datetime | None = None
    token: UUID | None = None
    unreadable: int = 0
    bundle: UUID | None = None


class _Lane(msgspec.Struct):
    concurrency: int | None = None
    per_second: float | None = None
    held: bool = False
    closed_until: datetime | None = None
    free_at: datetime | None = None
    worked_at: datetime | None = None

    def standing(self, slow: int, now: datetime) -> str:
        """Of one of which so many have been leased for long."""
        if self.is_tried:
            return "tried"
        if self.concurrency is None:
            return "proven"
        if self.worked_at is None or self.worked_at <= now - PROVEN_FOR:
            return "unproven"
        return "slow" if slow else "proven"

    @property
    def has_terms(self) -> bool:
        return self.held or self.concurrency is not None or self.per_second is not None

    @property
    def is_tried(self) -> bool:
        return self.closed_until is not None

    @property
    def pace(self) -> float:
        """How many a second, where there is a bound."""
        return max(self.per_second, SLOWEST) if self.per_second is not None else float("inf")

    @property
    def burst(self) -> float:
        return max(1.0, self.pace / 10)

    def opens_at(self) -> datetime | None:
        """When one more may be leased, as far as time decides."""
        moments = [self.closed_until] if self.closed_until else []
        if self.per_second is not None and self.free_at:
            moments.append(self.free_at - timedelta(seconds=(self.burst - 1) / self.pace))
        return max(moments, default=None)

    def at_a_time(self, slow: int, now: datetime) -> float:
        match self.standing(slow, now):
            case "tried" | "unproven":
                return 1
            case "slow":
                return min(self.concurrency or 1, slow + 1)
            case _:
                return self.concurrency or float("inf")

    def room(self, slow: int, now: datetime) -> float:
        """How many more may be held and leased now, not counting those that are held."""
        if self.held or (self.closed_until and self.closed_until > now):
            return 0
        return self.at_a_time(slow, now)

    def allowance(self, now: datetime) -> float:
        """How many more may be leased now for their number a second."""
        if self.per_second is None:
            return float("inf")
        ahead = max(self.free_at or now, now) - now
        return int(self.burst - ahead.total_seconds() * self.pace)


class Taker(Protocol):
    """Who offers to take what is due at once."""

    def places(self, channel: str) -> int: ...

    async def take_up(self, channel: Channel, ids: Sequence[UUID]) -> bool: ...


class MemoryDueWork:
    def __init__(self, clock: Clock, budget: ProviderBudget | None = None) -> None:
        self._clock = clock
        self._budget = budget or MemoryProviderBudget(clock, {})
        self._schedule: dict[UUID, _Work] = {}
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._takers: list[Taker] = []

    def write(self, rows: Iterable[DueRow]) -> None:
        """What the event store does in the same step as it appends."""
        for row in rows:
            if row.due is None:
                self._schedule.pop(row.notification, None)
            else:
                at = self._clock.now() if row.at_once else row.due.at
                self._schedule[row.notification] = _Work(
                    row.notification, row.channel, row.lane, row.head_start, at, at + row.head_start, bundle=row.bundle
                )

    def offer_to(self, taker: Taker) -> None:
        self._takers.append(taker)

    async def put_to_takers(self, rows: Iterable[DueRow]) -> None:
        """The same for what was offered: all on a channel that is new and due at once, or nothing of it."""
        fresh = defaultdict(list)
        for row in rows:
            if row.due and row.at_once and not row.bundle:
                fresh[Channel(row.channel)].append(row.notification)
        for channel, ids in fresh.items():
            for taker in self._takers:
                if await taker.take_up(channel, ids):
                    break

    def _offered(self, channel: str) -> int:
        return sum(taker.places(channel) for taker in self._takers)

    def held(self, channel: str) -> int:
        return sum(self._is_held(work) for work in self._on(channel))

    def any_has_terms(self, ids: Iterable[UUID]) -> bool:
        return any(self._lane(work.channel, work.lane).has_terms for work in map(self._schedule.__getitem__, ids))

    def assign(self, ids: Iterable[UUID], token: UUID, duration: timedelta) -> None:
        for id in ids:
            work = self._schedule[id]
            work.token, work.leased_at = token, self._clock.now()
            self._hold(work, duration)

    def write_lanes(self, rows: Iterable[LaneRow]) -> None:
        """The same for lanes. One that is held no longer begins anew, as does another pace."""
        for row in rows:
            if row.dropped:
                self._lanes.pop((row.channel, row.lane), None)
                continue
            lane = self._lane(row.channel, row.lane)
            if lane.held and not row.held:
                lane.closed_until = None
            if lane.per_second != row.per_second:
                lane.free_at = None
            lane.concurrency, lane.per_second, lane.held = row.concurrency, row.per_second, row.held

    async def lease(self, channel: Channel, limit: int, window: int, duration: timedelta) -> list[Lease]:
        held = Counter(work.lane for work in self._on(channel) if self._is_held(work))
        places = max(0, min(limit, window - held.total() - self._offered(channel)))
        chosen = self._chosen(channel, held, window)[:places]
        token = uuid4()
        for work in chosen:
            work.token, work.leased_at = token, self._clock.now()
            self._hold(work, duration)
            self._count(self._lane(channel, work.lane))
        return [Lease(work.notification, token, channel) for work in chosen]

    async def lease_in_budget(self, channel: Channel, provider: str, window: int, duration: timedelta) -> Turn:
        granted = await self._budget.take(provider, window)
        leases = await self.lease(channel, granted, window, duration)
        await self._budget.give_back(provider, granted - len(leases))
        return Turn(leases, await self.next_due(channel))

    def _chosen(self, channel: Channel, held: Counter[str], window: int) -> list[_Work]:
        """All that may be leased, in turn, as far as lanes have a say in it."""
        now, slow = self._clock.now(), self._slow(channel)
        most = ceil(window / 2) - self._offered(channel)
        turns: Counter[str] = Counter()
        doubtful: Counter[str] = Counter()
        for name, many in held.items():
            doubtful[self._lane(channel, name).standing(slow[name], now)] += many
        chosen = []
        for work in _in_turn(work for work in self._on(channel) if self._is_ready(work)):
            lane = self._lane(channel, work.lane)
            standing = lane.standing(slow[work.lane], now)
            if doubtful[standing] >= ceil(window * _SHARES[standing]):
                continue
            if turns[work.lane] < min(
                min(most, lane.room(slow[work.lane], now)) - held[work.lane], lane.allowance(now)
            ):
                turns[work.lane] += 1
                doubtful[standing] += 1
                chosen.append(work)
        return chosen

    def _count(self, lane: _Lane) -> None:
        if lane.per_second is not None:
            now = self._clock.now()
            lane.free_at = max(lane.free_at or now, now) + timedelta(seconds=1 / lane.pace)

    async def renew(
        self, leases: Sequence[Lease], duration: timedelta, *, enough: timedelta | None = None
    ) -> list[Lease]:
        kept = [(lease, work) for lease in leases if (work := self._leased(lease))]
        for _, work in kept:
            if work.lease_until is None or work.lease_until < self._clock.now() + (enough or duration):
                self._hold(work, duration)
        return [lease for lease, _ in kept]

    async def release(self, leases: Sequence[Lease], *, after: timedelta = timedelta(0)) -> None:
        for lease in leases:
            if work := self._leased(lease):
                work.lease_until = work.token = None
                work.rank_at = work.due_at + work.head_start
                if after:
                    self._hold(work, after)

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

    async def bundled(self, bundle: UUID, limit: int) -> list[UUID]:
        now = self._clock.now()
        there = sorted(
            (work.due_at > now, work.unreadable > 0, work.due_at + work.head_start, work.notification)
            for work in self._schedule.values()
            if work.bundle == bundle
        )
        return [id for *_, id in there[:limit]]

    async def next_due(self, channel: Channel) -> timedelta | None:
        held = Counter(work.lane for work in self._on(channel) if self._is_held(work))
        soonest = min(map(self._ready_at, self._leasable(channel, held)), default=None)
        return soonest - self._clock.now() if soonest else None

    def _leasable(self, channel: Channel, held: Counter[str]) -> Iterator[_Work]:
        """What may be leased before another of its lane ends, and what is leased, which may lapse."""
        now, slow = self._clock.now(), self._slow(channel)
        for work in self._on(channel):
            lane = self._lane(channel, work.lane)
            if self._is_held(work) or not (lane.held or held[work.lane] >= lane.at_a_time(slow[work.lane], now)):
                yield work

    def _ready_at(self, work: _Work) -> datetime:
        at = work.lease_until or work.due_at
        return max(at, self._lane(work.channel, work.lane).opens_at() or at)

    async def close_lane(self, channel: Channel, lane: str, duration: timedelta) -> None:
        known = self._lane(channel, lane)
        until = self._clock.now() + duration
        if known.concurrency is not None:
            known.closed_until = max(known.closed_until or until, until)

    async def open_lane(self, channel: Channel, lane: str) -> None:
        known = self._lane(channel, lane)
        known.closed_until, known.worked_at = None, self._clock.now()

    async def closed_lanes(self, channel: Channel, lanes: Collection[str]) -> set[str]:
        return {lane for lane in lanes if self._lane(channel, lane).is_tried}

    def _slow(self, channel: str) -> Counter[str]:
        """How many of each lane have been leased for long."""
        since = self._clock.now() - SLOW_AFTER
        held = (work for work in self._on(channel) if self._is_held(work))
        return Counter(work.lane for work in held if work.leased_at and work.leased_at <= since)

    def _lane(self, channel: str, lane: str) -> _Lane:
        return self._lanes.setdefault((channel, lane), _Lane())

    async def backlog(self) -> list[Backlog]:
        return [self._backlog(channel) for channel in sorted({work.channel for work in self._schedule.values()})]

    async def unreadable(self) -> int:
        return sum(work.unreadable > 0 for work in self._schedule.values())

    def _backlog(self, channel: str) -> Backlog:
        works, now = self._on(channel), self._clock.now()
        due = [work for work in works if work.due_at <= now and not self._lane(channel, work.lane).held]
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
