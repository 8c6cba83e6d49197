"""Many endpoints that worked die in the same second. On the schedule in memory, second by second."""

from collections import deque
from datetime import timedelta
from itertools import count
from uuid import UUID

import pytest

from adapters.group_commit import DueRow, LaneRow
from adapters.memory.due_work import MemoryDueWork
from application.ports.due_work import Lease
from domain.breaker import REST, Breaker
from domain.notification import Due
from domain.vocabulary import Channel
from tests.fakes.chance import SetClock

HOOK = Channel.WEBHOOK
SECOND = timedelta(seconds=1)
WINDOW, DEADLINE = 100, 30
DYING = [f"dying-{n}" for n in range(20)]
WORKING = "working"


class House:
    """One that works answers within the second; a call to one that died ends with its deadline."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.due = MemoryDueWork(self.clock)
        self.due.write_lanes([LaneRow(HOOK, lane, 5, None, held=False) for lane in [*DYING, WORKING]])
        self._ids = count(1)
        self._lanes: dict[UUID, str] = {}
        self._breaker = Breaker()
        self._calls: deque[tuple[int, list[Lease]]] = deque()

    def tell(self, lane: str) -> None:
        id, now = UUID(int=next(self._ids)), self.clock.now()
        self._lanes[id] = lane
        self.due.write([DueRow(id, "acme", HOOK, lane, timedelta(0), Due(now, 0, held=False), at_once=False)])

    async def prove(self) -> None:
        for lane in [*DYING, WORKING]:
            await self.due.open_lane(HOOK, lane)

    async def second(self, now: int) -> int:
        """How many were delivered in it."""
        while self._calls and self._calls[0][0] <= now:
            await self._time_out(self._calls.popleft()[1])
        leased = await self.due.lease(HOOK, WINDOW, WINDOW, 3 * DEADLINE * SECOND)
        arrived = [lease for lease in leased if self._lanes[lease.notification] == WORKING]
        await self.due.drop(arrived)
        self._calls.append((now + DEADLINE, [lease for lease in leased if lease not in arrived]))
        self.clock.move(SECOND)
        return len(arrived)

    async def _time_out(self, leases: list[Lease]) -> None:
        for lease in leases:
            lane = self._lanes[lease.notification]
            if self._breaker.heard(lane, self.clock.now(), ok=False, timed_out=True):
                await self.due.close_lane(HOOK, lane, REST)
        await self.due.drop(leases)


@pytest.mark.parametrize("every", [1, 2, 5])
async def test_one_that_works_waits_for_none_of_them(every):
    house = House()
    await house.prove()
    for now in range(2 * DEADLINE):
        for lane in DYING if now % every == 0 else []:
            house.tell(lane)
        house.tell(WORKING)
        assert await house.second(now) == 1
