"""Making a read model again from the log, beside the live one; and checking the live one against the log."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, Self, TypeVar

import msgspec

from application.ports.log import EventLog, Recorded
from application.ports.views import View
from application.processes.project import Known, project
from application.projections.projection import Projection

BATCH = 2_000
"""So few that what becomes of a batch is gone again before the garbage collector has looked through it."""

Progress = Callable[[int, int], None]
"""Told how far the log was read and how far it goes."""


class Difference(msgspec.Struct, frozen=True):
    """One row that is not what the log says; None where one side has no such row."""

    key: str
    live: Mapping[str, Any] | None
    expected: Mapping[str, Any] | None


class ReplaceableView(View[Any, Any], Protocol):
    """A view that has a copy beside it."""

    async def create(self) -> None: ...

    async def drop(self) -> None: ...

    async def replace(self, live: Self) -> None:
        """Put this copy into the place of `live`, in one step for every reader."""

    def standing_still(self) -> AbstractAsyncContextManager[int]:
        """The position, which nobody moves for as long as the block lasts."""

    async def differences(self, other: Self, limit: int) -> list[Difference]: ...


V = TypeVar("V", bound=ReplaceableView)


async def rebuild(projection: Projection[Any], log: EventLog, live: V, shadow: V, progress: Progress) -> int:
    """Fold the whole log into `shadow` and put it into the place of `live`; answers the position it stands at.

    The live view goes on meanwhile. Whoever follows it notices the swap, because the view no longer stands where the
    follower left it.
    """
    await _fold(projection, log, shadow, progress)
    position = await shadow.position()
    await shadow.replace(live)
    return position


async def verify(
    projection: Projection[Any], log: EventLog, live: V, shadow: V, progress: Progress, limit: int = 20
) -> list[Difference]:
    """Fold the log again as far as `live` has come and answer the rows that differ; none means that it is right."""
    await _fold(projection, log, shadow, progress, until=await live.position())
    async with live.standing_still() as position:
        await _catch_up(projection, log, shadow, progress, until=position)
        found = await live.differences(shadow, limit)
    await shadow.drop()
    return found


async def _fold(
    projection: Projection[Any], log: EventLog, shadow: ReplaceableView, progress: Progress, until: int | None = None
) -> None:
    await shadow.drop()
    await shadow.create()
    await _catch_up(projection, log, shadow, progress, await log.head() if until is None else until)


async def _catch_up(
    projection: Projection[Any], log: EventLog, view: View[Any, Any], progress: Progress, until: int
) -> None:
    """While one batch is written the next is read already."""
    topics, personal = projection.topics, projection.personal

    def read(after: int) -> asyncio.Task[list[Recorded]]:
        return asyncio.create_task(log.read(after, BATCH, topics, until=until, personal=personal))

    position, known = await view.position(), Known(most=BATCH)
    reading = read(position)
    try:
        while batch := await reading:
            reading = read(batch[-1].position)
            await project(projection, view, batch, known, after=position)
            position = batch[-1].position
            progress(position, until)
    finally:
        reading.cancel()
        await asyncio.wait([reading])
    if position < until:
        await view.write({}, until, after=position)
    progress(until, until)
