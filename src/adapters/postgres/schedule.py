"""The schedule written anew."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from adapters.postgres.database import Database
from adapters.postgres.recorder import APPEND_LOCK
from domain.notification import Due, Notification

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
        lease_token uuid
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
    CREATE INDEX IF NOT EXISTS schedule_rank ON schedule (channel, lane, rank_at);
    CREATE INDEX IF NOT EXISTS schedule_due ON schedule (channel, due_at) WHERE lease_until IS NULL;
    CREATE INDEX IF NOT EXISTS schedule_held ON schedule (channel, lease_until) WHERE lease_until IS NOT NULL;
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

    async def rewrite(self, notifications: Iterable[Notification], lease: timedelta) -> int:
        rows = [_row(n, n.due, lease) for n in notifications if n.due]
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(CREATE_SCHEDULE)
            await connection.execute("TRUNCATE schedule")
            async with (
                connection.cursor() as cursor,
                cursor.copy(
                    "COPY schedule (notification_id, tenant_id, channel, lane, head_start, due_at, rank_at, attempt)"
                    " FROM STDIN"
                ) as copy,
            ):
                for row in rows:
                    await copy.write_row(row)
        return len(rows)


def _row(notification: Notification, due: Due, lease: timedelta) -> tuple[Any, ...]:
    at = due.at + lease if due.held else due.at
    tenant, head_start = notification.tenant, notification.priority.head_start
    return notification.id, tenant, notification.channel.value, tenant, head_start, at, at + head_start, due.attempt
