"""What this process has just read of the log, for a second follower of it."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from adapters.event_mapper import tenant_of
from application.ports.log import StoredLog
from domain.chain import Entry

Row = tuple[Any, ...]
"""As it is stored: stream, version, topic, state, position."""

_MOST_KEPT = 8 << 20
"""Bytes of states: how large an event is depends on whoever sends it."""


class LatelyRead:
    """The log as it is stored, for one who follows close behind another: PostgreSQL hands out the same bytes once.

    Kept is one stretch: all the events there are after `_after`, up to the last of them.
    """

    def __init__(self, log: StoredLog) -> None:
        self._log = log
        self._after = 0
        self._rows: list[Row] = []
        self._size = 0
        self._wanted = False

    def keep(self, after: int, rows: Sequence[Row]) -> None:
        """What comes after this position, as it was just read."""
        if not (rows and self._wanted):
            return
        if self._end != after:
            self._after, self._rows, self._size = after, [], 0
        self._rows += rows
        self._size += _size(rows)
        self._forget(self._too_many())

    async def entries(self, after: int, limit: int) -> list[Entry]:
        """Of what is kept, or else of the log; there may be more than it answers. What lies before is forgotten.

        Nothing is kept before the first call.
        """
        self._wanted = True
        self._forget(bisect_right(self._rows, after, key=_position))
        if not self._after <= after < self._end:
            return await self._log.entries(after, limit)
        return [entry_of(row) for row in self._rows[:limit]]

    @property
    def _end(self) -> int:
        return _position(self._rows[-1]) if self._rows else self._after

    def _too_many(self) -> int:
        """How many of the first have to go, so that the rest fits."""
        left = self._size
        for place, row in enumerate(self._rows):
            if left <= _MOST_KEPT:
                return place
            left -= len(row[3])
        return len(self._rows)

    def _forget(self, first: int) -> None:
        if first:
            self._after = _position(self._rows[first - 1])
            self._size -= _size(self._rows[:first])
            del self._rows[:first]


def entry_of(row: Row) -> Entry:
    return Entry(tenant_of(row[3]), row[4], *row[:4])


def _size(rows: Sequence[Row]) -> int:
    return sum(len(row[3]) for row in rows)


def _position(row: Row) -> int:
    position: int = row[4]
    return position
