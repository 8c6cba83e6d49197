"""Appending to the log: stores what can be stored, and tells each caller why the rest was not."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.group_commit import Append
from adapters.postgres.append_events import APPEND_EVENTS, append_values
from adapters.postgres.columns import Bigints, Uuids
from adapters.postgres.database import open_pool
from application.ports.log import ConflictError, StaleError, StoreUnavailableError

_PATIENCE_WITH_THE_HOLDER = 2  # seconds: who is stopped in the middle of an append stops everybody else's
_PAUSE = 0.05  # seconds before the one more try after a lost connection
_Version = tuple[UUID | str, int]


def open_append_pool(conninfo: str, *, lock_timeout: int = 5) -> AsyncConnectionPool[Any]:
    """A pool, not yet opened, of the one connection that appends. It waits `lock_timeout` seconds for a lock."""
    return open_pool(
        conninfo,
        most=1,
        name="carillon append",
        lock_timeout=f"{lock_timeout}s",
        idle_in_transaction_session_timeout=f"{_PATIENCE_WITH_THE_HOLDER}s",
    )


class LogWriter:
    """Appends by one call of the function `append_events`.

    The lock is held for no longer than the server takes to write, whatever else the client has to do; with a statement
    for each, it would be held for as many round trips, and everybody else would wait.
    """

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def append(self, appends: Sequence[Append]) -> list[int | Exception]:
        """Write all that can be written in one transaction; a conflict fails its own append only.

        Raises StoreUnavailableError when nobody can know what was stored.
        """
        try:
            return await self._append(appends)
        except (psycopg.Error, PoolTimeout) as error:
            raise StoreUnavailableError(type(error).__name__) from error

    async def _append(self, appends: Sequence[Append]) -> list[int | Exception]:
        answers: list[int | Exception] = [ConflictError("the stream has grown meanwhile")] * len(appends)
        pending = _without_clashes(appends)
        pending = self._without_stale(pending, _grown_by(pending), answers)
        while pending:
            try:
                positions = await self._insert([appends[i] for i in pending])
            except psycopg.IntegrityError as error:
                rest = self._sort_out(pending, await self._stored([appends[i] for i in pending]), answers)
                rest = self._without_stale(rest, await self._lengths(rest), answers)
                if len(rest) == len(pending):
                    raise StoreUnavailableError(type(error).__name__) from error
                pending = rest
            else:
                _hand_out(pending, positions, answers)
                break
        return answers

    async def _insert(self, appends: Sequence[Append]) -> list[int]:
        """Once more after a lost connection: what was stored before the answer was lost is refused, and then found."""
        values = append_values(appends)
        try:
            rows = await self._rows(APPEND_EVENTS, values)
        except psycopg.OperationalError:
            await asyncio.sleep(_PAUSE)
            rows = await self._rows(APPEND_EVENTS, values)
        return [position for (position,) in rows]

    def _sort_out(
        self,
        pending: Mapping[int, Append],
        stored: Mapping[_Version, tuple[int, bytes]],
        answers: list[int | Exception],
    ) -> dict[int, Append]:
        """After a refused insert: what is free to try again. An append stored before a lost answer is done."""
        rest = {}
        for i, append in pending.items():
            found = [stored.get((e.originator_id, e.originator_version)) for e in append.events]
            if not any(found):
                rest[i] = append
            elif all(f and f[1] == e.state for f, e in zip(found, append.events, strict=True)):
                answers[i] = found[-1][0]  # type: ignore[index]
        return rest

    def _without_stale(
        self, pending: Mapping[int, Append], lengths: Mapping[UUID | str, int], answers: list[int | Exception]
    ) -> dict[int, Append]:
        """Those whose decisions still rest on all that there is."""
        stale = {i for i, append in pending.items() if any(lengths.get(id, 0) > n for id, n in append.seen.items())}
        for i in stale:
            answers[i] = StaleError("what was decided on has changed meanwhile")
        return {i: append for i, append in pending.items() if i not in stale}

    async def _lengths(self, pending: Mapping[int, Append]) -> dict[UUID | str, int]:
        """Of the streams that these were decided on."""
        ids = {id for append in pending.values() for id in append.seen}
        return dict(await self._rows(_LENGTHS, (Uuids(ids),)))

    async def _stored(self, appends: Sequence[Append]) -> dict[_Version, tuple[int, bytes]]:
        """What stands where these would go: its position and its bytes."""
        events = [event for append in appends for event in append.events]
        places = Uuids(e.originator_id for e in events), Bigints(e.originator_version for e in events)  # type: ignore[misc]
        return {(id, version): (position, state) for id, version, position, state in await self._rows(_STORED, places)}

    async def _rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query, values, prepare=True, binary=True)
            found: list[tuple[Any, ...]] = await cursor.fetchall()
            return found


_LENGTHS = """
    SELECT originator_id, max(originator_version) FROM stored_events
    WHERE originator_id = ANY(%b::uuid[]) GROUP BY originator_id
"""

_STORED = """
    SELECT e.originator_id, e.originator_version, e.notification_id, e.state FROM stored_events e
    JOIN unnest(%b::uuid[], %b::bigint[]) AS new (id, version)
      ON e.originator_id = new.id AND e.originator_version = new.version
"""


def _without_clashes(appends: Sequence[Append]) -> dict[int, Append]:
    """Those that do not claim a place in a stream that an earlier one of the same lot claims."""
    claimed: set[_Version] = set()
    free = {}
    for i, append in enumerate(appends):
        places = {(e.originator_id, e.originator_version) for e in append.events}
        if claimed.isdisjoint(places):
            claimed |= places
            free[i] = append
    return free


def _grown_by(pending: Mapping[int, Append]) -> dict[UUID | str, int]:
    """How long the streams will be that these add to."""
    return {e.originator_id: e.originator_version for append in pending.values() for e in append.events}


def _hand_out(pending: Mapping[int, Append], positions: Sequence[int], answers: list[int | Exception]) -> None:
    end = 0
    for i, append in pending.items():
        end += len(append.events)
        answers[i] = positions[end - 1]
