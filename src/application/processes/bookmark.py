"""Where a process stands in the log, written down now and then."""

from typing import Protocol

_EVERY = 10_000
"""Positions that a start may have to go over again."""


class Place(Protocol):
    """Where a process stands in the log."""

    async def position(self) -> int: ...

    async def move(self, position: int) -> None: ...


class Bookmark:
    """For whom going over a stretch again changes nothing: to write it down each time would be a commit a turn."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._written: int | None = None

    async def position(self) -> int:
        """Where to begin."""
        if self._written is None:
            self._written = await self._place.position()
        return self._written

    async def reached(self, position: int, *, worthwhile: bool) -> None:
        """Write it down if there is no wish to do all of it again: something was done, or a long way was gone."""
        if worthwhile or position - await self.position() >= _EVERY:
            await self._place.move(position)
            self._written = position
