"""How the projector goes on while one read model cannot be written. In memory."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

from adapters.memory.views import MemoryView
from application.ports import Recorded
from application.processes.project import Followed, Projector
from application.projections.metrics import Metrics
from application.projections.notifications import Notifications
from tests.examples import notification


class Log:
    """One new notification."""

    def __init__(self) -> None:
        self.recorded = [Recorded(1, event) for event in notification(UUID(int=1)).collect_events()]

    async def read(self, after: int, limit: int) -> list[Recorded]:
        return self.recorded if after == 0 else []


class BrokenView(MemoryView[Any, Any]):
    """Knows its place, and refuses rows until it is mended."""

    def __init__(self) -> None:
        super().__init__()
        self.mended = False

    async def write(self, rows: Mapping[Any, Any], position: int, *, after: int) -> None:
        if not self.mended:
            raise RuntimeError("no room")
        await super().write(rows, position, after=after)


class Lines:
    def __init__(self) -> None:
        self.stuck_at: list[float] = []

    def projected(self, projection: str, events: int, rows: int, position: int, milliseconds: float) -> None: ...

    def stuck(self, projection: str, position: int, error: Exception) -> None:
        self.stuck_at.append(asyncio.get_running_loop().time())


async def turns(projector: Projector, seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        await projector.turn()
        await asyncio.sleep(0.005)


def pauses(moments: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


async def test_a_view_in_trouble_is_tried_again_after_growing_pauses_and_holds_up_nobody() -> None:
    lines, broken, sound = Lines(), BrokenView(), MemoryView[Any, Any]()
    followed = [Followed(Notifications(), broken), Followed(Metrics(), sound)]
    projector = Projector(Log(), followed, lines)
    await turns(projector, 0.5)
    first, second = pauses(lines.stuck_at)
    assert (first >= 0.1, second >= 0.2) == (True, True)
    assert await sound.position() == 1

    broken.mended = True
    await turns(projector, 0.6)
    assert await broken.position() == 1
    assert len(lines.stuck_at) == 3
