"""The schedule written anew."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from adapters.postgres.append_events import APPEND_LOCK, lane_columns
from adapters.postgres.database import Database
from adapters.stored import lane_row
from domain.notification import Due, Notification
from domain.subscription import WebhookSubscription

CREATE_SCHEDULE = """
    CREATE TABLE IF NOT EXISTS schedule (
        notification_id uuid PRIMARY KEY,
        tenant_id text NOT NULL,
        channel text NOT NULL,
        lane text NOT NULL,
        head_start interval NOT NULL,
        due_at timestamptz NOT NULL,
        rank_at timestamptz NOT NULL,
        attempt int NOT NULL,
        lease_until timestamptz,
        lease_token uuid,
        leased_at timestamptz,
        unreadable int NOT NULL DEFAULT 0,
        bundle uuid
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
    CREATE INDEX IF NOT EXISTS schedule_rank ON schedule (channel, lane, rank_at);
    CREATE INDEX IF NOT EXISTS schedule_lane_due ON schedule (channel, lane, due_at) WHERE lease_until IS NULL;
    CREATE INDEX IF NOT EXISTS schedule_held ON schedule (channel, lease_until) WHERE lease_until IS NOT NULL;
    CREATE INDEX IF NOT EXISTS schedule_unreadable ON schedule (channel) WHERE unreadable > 0;
    ALTER TABLE schedule ADD COLUMN IF NOT EXISTS bundle uuid;
    CREATE INDEX IF NOT EXISTS schedule_bundle ON schedule (bundle) WHERE bundle IS NOT NULL;
"""

CREATE_LANES = """
    CREATE TABLE IF NOT EXISTS lanes (
        channel text,
        lane text,
        concurrency int,
        per_second double precision,
        held boolean NOT NULL DEFAULT false,
        closed_until timestamptz,
        free_at timestamptz,
        worked_at timestamptz,
        PRIMARY KEY (channel, lane)
    ) WITH (fillfactor = 70);
"""


class PostgresSchedule:
    """Implements the port RewritableSchedule."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            yield

    async def rewrite(
        self, notifications: Iterable[Notification], subscriptions: Iterable[WebhookSubscription], lease: timedelta
    ) -> int:
        """Leases that the old rows know of go on. Where the table was gone nobody knows them: all wait for one.

        Lanes are open again, each for as long as its endpoint answers.
        """
        async with self._database.connection() as connection, connection.transaction():
            not_before = await _made_anew(connection, lease)
            leases = await _leases(connection)
            rows = [_row(n, n.due, lease, not_before, *leases.get(n.id, _FREE)) for n in notifications if n.due]
            await connection.execute("TRUNCATE schedule")
            async with (
                connection.cursor() as cursor,
                cursor.copy(
                    "COPY schedule (notification_id, tenant_id, channel, lane, head_start, due_at, rank_at, attempt,"
                    " bundle, lease_until, lease_token) FROM STDIN"
                ) as copy,
            ):
                for row in rows:
                    await copy.write_row(row)
            await connection.execute(CREATE_LANES)
            await connection.execute("TRUNCATE lanes")
            await connection.execute(
                "INSERT INTO lanes (channel, lane, concurrency, per_second, held)"
                " SELECT channel, lane, concurrency, per_second, held"
                " FROM unnest(%b::text[], %b::text[], %b::int[], %b::float8[], %b::boolean[], %b::boolean[])"
                " AS said (channel, lane, concurrency, per_second, held, dropped) WHERE NOT dropped",
                lane_columns(map(lane_row, subscriptions)),
            )
        return len(rows)


_Connection = psycopg.AsyncConnection[Any]
_Held = tuple[datetime | None, UUID | None]
_FREE: _Held = (None, None)


async def _made_anew(connection: _Connection, lease: timedelta) -> datetime | None:
    """Make the table if it is gone; answers when the last lease has then lapsed that anybody may still hold."""
    found = await connection.execute("SELECT to_regclass('schedule') IS NULL, clock_timestamp() + %s", (lease,))
    ((gone, lapsed),) = await found.fetchall()
    await connection.execute(CREATE_SCHEDULE)
    return lapsed if gone else None


async def _leases(connection: _Connection) -> dict[UUID, _Held]:
    """What is held now; the lock keeps it so until the rows are written."""
    await connection.execute("LOCK TABLE schedule IN ACCESS EXCLUSIVE MODE")
    held = await connection.execute(
        "SELECT notification_id, lease_until, lease_token FROM schedule WHERE lease_until > now()"
    )
    return {id: (until, token) for id, until, token in await held.fetchall()}


def _row(
    notification: Notification,
    due: Due,
    lease: timedelta,
    not_before: datetime | None,
    lease_until: datetime | None,
    token: UUID | None,
) -> tuple[Any, ...]:
    at = due.at + lease if due.held else due.at
    at = max(at, not_before or at)
    tenant, lane, head_start = notification.tenant, notification.lane, notification.priority.head_start
    rank_at = (lease_until or at) + head_start
    channel = notification.channel.value
    bundle = notification.bundle
    return notification.id, tenant, channel, lane, head_start, at, rank_at, due.attempt, bundle, lease_until, token
