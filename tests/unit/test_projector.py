"""How the projector goes on while one read model cannot be written. In memory."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from adapters.memory.views import MemoryView
from adapters.memory.wakeup import MemoryWakeups
from application.ports.log import Recorded
from application.processes import project as process
from application.processes.project import Followed, Known, Projector, project
from application.projections.metrics import Metrics
from application.projections.notifications import Notifications
from domain.outcomes import Accepted
from domain.vocabulary import Status
from tests.examples import NOON, POLICY, attempted, notification


class Log:
    """One new notification."""

    def __init__(self) -> None:
        self.recorded = [Recorded(1, event) for event in notification(UUID(int=1)).collect_events()]

    async def read(self, after: int, limit: int) -> list[Recorded]:
        return [one for one in self.recorded if one.position > after]


class BrokenView(MemoryView[Any, Any]):
    """Knows its place, and refuses rows until it is mended."""

    def __init__(self) -> None:
        super().__init__()
        self.mended = False

    async def write(
        self, rows: Mapping[Any, Any], position: int, *, after: int, new: Collection[Any] = frozenset()
    ) -> None:
        if not self.mended:
            raise RuntimeError("no room")
        await super().write(rows, position, after=after)


class CountingView(MemoryView[Any, Any]):
    """Remembers which rows were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    async def rows(self, keys: Collection[Any]) -> dict[Any, Any]:
        self.asked += keys
        return await super().rows(keys)


class Lines:
    def __init__(self) -> None:
        self.stuck_at: list[float] = []

    def projected(self, projection: str, events: int, rows: int, position: int, milliseconds: float) -> None: ...

    def stuck(self, projection: str, position: int, error: Exception) -> None:
        self.stuck_at.append(asyncio.get_running_loop().time())


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_FIRST_PAUSE", 0.02)


async def turns_until(projector: Projector, done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await done():
            await projector.turn()
            await asyncio.sleep(0.001)


def pauses(moments: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


async def test_a_view_in_trouble_is_tried_again_after_growing_pauses_and_holds_up_nobody() -> None:
    lines, broken, sound = Lines(), BrokenView(), MemoryView[Any, Any]()
    followed = [Followed(Notifications(), broken), Followed(Metrics(), sound)]
    projector = Projector(Log(), followed, lines)

    async def stuck_thrice() -> bool:
        return len(lines.stuck_at) == 3

    async def caught_up() -> bool:
        return await broken.position() == 1

    await turns_until(projector, stuck_thrice)
    first, second = pauses(lines.stuck_at)
    assert (first >= 0.02, second >= 0.04) == (True, True)
    assert await sound.position() == 1

    broken.mended = True
    await turns_until(projector, caught_up)
    assert pauses([*lines.stuck_at, asyncio.get_running_loop().time()])[-1] >= 0.08
    assert len(lines.stuck_at) == 3


async def test_a_view_in_trouble_keeps_only_those_waiting_who_read_it() -> None:
    followed = [Followed(Notifications(), MemoryView()), Followed(Metrics(), BrokenView())]
    projector, reached = Projector(Log(), followed, Lines()), list[int]()

    async def settle(position: int) -> None:
        reached.append(position)

    for behind in (("notifications",), ("metrics",), ("notifications", "metrics")):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await projector.run(MemoryWakeups().bell(), settle, behind)
        assert reached[-1] == (1 if behind == ("notifications",) else 0)


def a_life() -> list[Recorded]:
    """One notification, queued and then sent."""
    it = attempted(notification(UUID(int=1)))
    it.record(Accepted("id-1"), POLICY, luck=0.5, now=NOON, by="worker")
    return [Recorded(position, event) for position, event in enumerate(it.collect_events(), 1)]


async def in_batches_of_one(view: MemoryView[Any, Any], log: Sequence[Recorded], known: Known) -> None:
    for one in log:
        await project(Notifications(), view, [one], known, after=await view.position())


async def test_a_row_that_was_just_written_is_not_read_again() -> None:
    view = CountingView()
    await in_batches_of_one(view, a_life(), Known())
    assert view.asked == []


async def test_a_row_that_is_known_no_longer_is_read_again() -> None:
    view = CountingView()
    await in_batches_of_one(view, a_life(), Known(most=0))
    assert view.asked == [(UUID(int=1),)] * 2
    (row,) = (await view.rows(view.asked)).values()
    assert row.status == Status.SENT


async def test_what_could_not_be_written_is_not_taken_for_known() -> None:
    queued, *rest = a_life()
    view, known = BrokenView(), Known()
    view.mended = True
    await project(Notifications(), view, [queued], known, after=0)
    view.mended = False
    with pytest.raises(RuntimeError):
        await project(Notifications(), view, rest, known, after=1)
    assert known.take([(UUID(int=1),)]) == {}


async def test_who_was_overtaken_reads_again_what_he_knew() -> None:
    """As by a rebuild of which the follower hears only when he writes."""
    log, view = Log(), MemoryView[Any, Any]()
    queued, rendered, sent = a_life()
    log.recorded = [queued]
    projector = Projector(log, [Followed(Notifications(), view)], Lines())
    await projector.turn()
    (row,) = (await view.rows([(UUID(int=1),)])).values()
    row.recipient = None
    await view.write({(UUID(int=1),): row}, 2, after=1)
    log.recorded = [rendered, sent]

    async def caught_up() -> bool:
        return await view.position() == sent.position

    await turns_until(projector, caught_up)
    (row,) = (await view.rows([(UUID(int=1),)])).values()
    assert (row.status, row.recipient) == (Status.SENT, None)


class SealedLog(Log):
    """Somebody's key is lost."""

    async def read(self, after: int, limit: int, *, personal: bool = True) -> list[Recorded]:
        if personal:
            raise ValueError("the key does not fit")
        return await super().read(after, limit)


async def test_what_is_personal_and_cannot_be_read_holds_up_only_those_who_show_it():
    shown, counted, lines = Followed(Notifications(), MemoryView()), Followed(Metrics(), MemoryView()), Lines()
    projector = Projector(SealedLog(), [shown, counted], lines)
    await projector.turn()
    assert await counted.view.position() == 1
    assert await shown.view.position() == 0
    assert lines.stuck_at
