"""The function of the database that appends: events, schedule and persons' keys in one call, and what it is given."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

from adapters.group_commit import Append, DueRow, LaneRow
from adapters.postgres.columns import Bigints, Blobs, Texts, Uuids
from adapters.postgres.notices import MOST_TOLD, notice

APPEND_LOCK = 0x0CA7_1110
"""The lock under which positions are drawn and committed, so that the log never shows a gap that fills later."""

_ALONE = UUID(int=0)
"""Stands for no bundle: a column without NULL is written several times as fast."""

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
"""The columns that an append comes to, in the order of `append_values`."""

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

APPEND_EVENTS = f"SELECT append_events({', '.join(f'%b::{kind}' for kind in _ARGUMENTS.values())})"

_NO_LANES = [None] * 6


def lane_columns(rows: Iterable[LaneRow]) -> list[list[Any]]:
    """Channel, lane, concurrency, per_second, held and dropped; of several rows of one lane the last counts."""
    last = {(row.channel, row.lane): row for row in rows}
    lanes = (msgspec.structs.astuple(last[lane]) for lane in sorted(last))
    return [list(column) for column in zip(*lanes, strict=True)] or [[]] * 6


def append_values(appends: Sequence[Append]) -> list[Any]:
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
