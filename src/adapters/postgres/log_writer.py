"""Appending to the log: events, schedule and persons' keys in one call, under the lock that keeps the log gap-free."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from eventsourcing.persistence import StoredEvent
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.group_commit import Append, DueRow, LaneRow
from adapters.postgres.columns import Bigints, Blobs, Texts, Uuids
from adapters.postgres.database import open_pool
from adapters.postgres.notices import MOST_TOLD, notice
from application.ports.log import ConflictError, StaleError, StoreUnavailableError

APPEND_LOCK = 0x0CA7_1110
"""The lock under which positions are drawn and committed, so that the log never shows a gap that fills later."""

_PATIENCE_WITH_THE_HOLDER = 2  # seconds: who is stopped in the middle of an append stops everybody else's
_PAUSE = 0.05  # seconds before the one more try after a lost connection
_Version = tuple[UUID | str, int]

_ALONE = UUID(int=0)
"""Stands for no bundle: a column without NULL is written several times as fast."""


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
        values = _values(appends)
        try:
            rows = await self._rows(_APPEND, values)
        except psycopg.OperationalError:
            await asyncio.sleep(_PAUSE)
            rows = await self._rows(_APPEND, values)
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


_ARGUMENTS = {
    "seen_ids": "uuid[]",
    "seen_lengths": "bigint[]",
    "persons": "uuid[]",
    "subjects": "bytea[]",
    "wrapped_keys": "bytea[]",
    "done": "uuid[]",
    "due_ids": "uuid[]",
    "tenants": "text[]",
    "channels": "text[]",
    "lane_names": "text[]",
    "head_starts": "bigint[]",
    "due_ats": "timestamptz[]",
    "attempts": "bigint[]",
    "bundles": "uuid[]",
    "fresh_ids": "uuid[]",
    "fresh": "text[]",
    "fresh_counts": "bigint[]",
    "fresh_notices": "text[]",
    "laned_channels": "text[]",
    "laned": "text[]",
    "concurrencies": "int[]",
    "paces": "float8[]",
    "holds": "boolean[]",
    "drops": "boolean[]",
    "ids": "uuid[]",
    "versions": "bigint[]",
    "topics": "text[]",
    "states": "bytea[]",
}
"""The columns that an append comes to, in the order of `_values`."""

CREATE_APPEND_EVENTS = f"""
    CREATE FUNCTION append_events(
        {", ".join(f"{name} {kind}" for name, kind in _ARGUMENTS.items())}
    ) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
    DECLARE
        freed text[];
        offer record;
        assigned text[] := '{{}}';
        tokens uuid[] := '{{}}';
        lapses timestamptz[] := '{{}}';
    BEGIN
        PERFORM pg_advisory_xact_lock({APPEND_LOCK});
        IF cardinality(seen_ids) > 0 THEN
            PERFORM FROM unnest(seen_ids, seen_lengths) AS seen (id, length), LATERAL (
                SELECT FROM stored_events WHERE originator_id = seen.id AND originator_version > seen.length LIMIT 1
            ) AS later;
            IF FOUND THEN
                RAISE unique_violation USING MESSAGE = 'what was decided on has changed meanwhile';
            END IF;
        END IF;
        IF cardinality(persons) > 0 THEN
            INSERT INTO person_keys (person, subject, wrapped)
            SELECT * FROM unnest(persons, subjects, wrapped_keys) ON CONFLICT (person) DO NOTHING;
        END IF;
        IF cardinality(done) > 0 THEN
            WITH gone AS (DELETE FROM schedule WHERE notification_id = ANY(done) RETURNING channel, lane)
            SELECT array_agg(DISTINCT gone.channel) INTO freed
            FROM gone JOIN lanes l ON l.channel = gone.channel AND l.lane = gone.lane AND l.concurrency IS NOT NULL;
        END IF;
        IF cardinality(due_ids) > 0 THEN
            FOR i IN 1 .. cardinality(fresh) LOOP
                SELECT * INTO offer FROM take_up_offer(fresh[i], fresh_counts[i], lane_names);
                IF offer.new_token IS NOT NULL THEN
                    assigned := assigned || fresh[i];
                    tokens := tokens || offer.new_token;
                    lapses := lapses || offer.lapses;
                    PERFORM pg_notify('assigned_' || replace(offer.taker::text, '-', ''),
                        offer.new_token || ' ' || fresh_notices[i]);
                END IF;
            END LOOP;
            INSERT INTO schedule
              (notification_id, tenant_id, channel, lane, head_start, due_at, rank_at, attempt, bundle,
               lease_until, lease_token, leased_at)
            SELECT id, tenant, channel, lane, head_start, at, coalesce(lapses[offered], at) + head_start, attempt,
                   nullif(bundle, '{_ALONE}'), lapses[offered], tokens[offered],
                   CASE WHEN offered IS NOT NULL THEN now() END
            FROM (
                SELECT id, tenant, channel, lane, seconds * interval '1 s' AS head_start, coalesce(at, now()) AS at,
                       attempt, bundle,
                       CASE WHEN id = ANY(fresh_ids) THEN array_position(assigned, channel) END AS offered
                FROM unnest(due_ids, tenants, channels, lane_names, head_starts, due_ats, attempts, bundles)
                  AS sent (id, tenant, channel, lane, seconds, at, attempt, bundle)
            ) new
            ON CONFLICT (notification_id) DO UPDATE
            SET due_at = excluded.due_at, rank_at = excluded.rank_at, attempt = excluded.attempt,
                bundle = excluded.bundle, lease_until = NULL, lease_token = NULL, unreadable = 0;
        END IF;
        IF cardinality(laned) > 0 THEN
            DELETE FROM lanes l
            USING unnest(laned_channels, laned, drops) AS said (channel, lane, dropped)
            WHERE l.channel = said.channel AND l.lane = said.lane AND said.dropped;
            INSERT INTO lanes AS l (channel, lane, concurrency, per_second, held)
            SELECT said.channel, said.lane, said.concurrency, said.per_second, said.held
            FROM unnest(laned_channels, laned, concurrencies, paces, holds, drops)
              AS said (channel, lane, concurrency, per_second, held, dropped)
            WHERE NOT dropped
            ON CONFLICT (channel, lane) DO UPDATE
            SET concurrency = excluded.concurrency, per_second = excluded.per_second, held = excluded.held,
                closed_until = CASE WHEN excluded.held OR NOT l.held THEN l.closed_until END,
                free_at = CASE WHEN l.per_second IS NOT DISTINCT FROM excluded.per_second THEN l.free_at END;
        END IF;
        PERFORM pg_notify('due_work', channel)
        FROM (
            SELECT channel FROM unnest(due_ids, channels) AS sent (id, channel)
            WHERE id <> ALL(fresh_ids) OR channel <> ALL(assigned)
            UNION SELECT unnest(laned_channels || freed)
        ) rung (channel);
        PERFORM pg_notify('stored_events', '');
        RETURN QUERY
            INSERT INTO stored_events (originator_id, originator_version, topic, state)
            SELECT id, version, topic, state
            FROM unnest(ids, versions, topics, states) WITH ORDINALITY AS new (id, version, topic, state, place)
            ORDER BY place
            RETURNING notification_id;
    END $$;
"""
"""Takes the lock, refuses if one of the streams that was decided on is longer than was seen, and stores the rest.

What is due at once is leased in the same step to who offered to take it, if there is somebody with room for it.

It has to be a function: a statement sees what was committed when it began, which was before it waited for the lock;
each statement of a function sees what is committed when that one begins (PostgreSQL, 38.7).
"""

_APPEND = f"SELECT append_events({', '.join(f'%b::{kind}' for kind in _ARGUMENTS.values())})"

_LENGTHS = """
    SELECT originator_id, max(originator_version) FROM stored_events
    WHERE originator_id = ANY(%b::uuid[]) GROUP BY originator_id
"""

_STORED = """
    SELECT e.originator_id, e.originator_version, e.notification_id, e.state FROM stored_events e
    JOIN unnest(%b::uuid[], %b::bigint[]) AS new (id, version)
      ON e.originator_id = new.id AND e.originator_version = new.version
"""

_NO_LANES = [None] * 6


def lane_columns(rows: Iterable[LaneRow]) -> list[list[Any]]:
    """Channel, lane, concurrency, per_second, held and dropped; of several rows of one lane the last counts."""
    last = {(row.channel, row.lane): row for row in rows}
    lanes = (msgspec.structs.astuple(last[lane]) for lane in sorted(last))
    return [list(column) for column in zip(*lanes, strict=True)] or [[]] * 6


def _values(appends: Sequence[Append]) -> list[Any]:
    """The arguments of `append_events`."""
    events = [event for append in appends for event in append.events]
    seen = {(id, length) for append in appends for id, length in append.seen.items()}
    lanes = [lane for append in appends for lane in append.lanes]
    keys = [key for append in appends for key in append.keys]
    rows = {row.notification: row for append in appends for row in append.due}
    waiting = [(row, row.due) for row in rows.values() if row.due]
    fresh = _fresh((row for row, _ in waiting), events)
    return [
        Uuids(id for id, _ in seen),
        Bigints(length for _, length in seen),
        Uuids(key.person for key in keys),
        Blobs(key.subject for key in keys),
        Blobs(key.wrapped for key in keys),
        Uuids(id for id, row in rows.items() if row.due is None),
        Uuids(row.notification for row, _ in waiting),
        Texts(row.tenant for row, _ in waiting),
        Texts(row.channel for row, _ in waiting),
        Texts(row.lane for row, _ in waiting),
        Bigints(int(row.head_start.total_seconds()) for row, _ in waiting),
        [None if row.at_once else due.at for row, due in waiting],
        Bigints(due.attempt for _, due in waiting),
        Uuids(row.bundle or _ALONE for row, _ in waiting),
        Uuids(id for ids in fresh.values() for id in ids),
        Texts(fresh),
        Bigints(len(ids) for ids in fresh.values()),
        Texts(notice(ids, events) for ids in fresh.values()),
        *(lane_columns(lanes) if lanes else _NO_LANES),
        Uuids(event.originator_id for event in events),  # type: ignore[misc]
        Bigints(event.originator_version for event in events),
        Texts(event.topic for event in events),
        Blobs(event.state for event in events),
    ]


def _fresh(rows: Iterable[DueRow], events: Iterable[StoredEvent]) -> dict[str, list[UUID]]:
    """What somebody may have offered to take, by channel: all that begins here and is due at once.

    Not what has been work before, whose last lease may still be known; not so much that a notice could not name it.
    """
    new = {event.originator_id for event in events if event.originator_version == 1}
    fresh: dict[str, list[UUID]] = {}
    for row in rows:
        if row.at_once and not row.bundle and row.notification in new:
            fresh.setdefault(row.channel, []).append(row.notification)
    return {channel: ids for channel, ids in fresh.items() if len(ids) <= MOST_TOLD}


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
