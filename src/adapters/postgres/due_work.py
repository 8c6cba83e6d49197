"""The schedule: derived from the log, leased by the database's clock."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

from adapters.postgres.database import Database
from application.ports import Backlog, Lease
from domain.vocabulary import Channel, Priority

_LEASE = f"""
    WITH RECURSIVE lanes (lane) AS (
        (SELECT lane FROM schedule WHERE channel = %(channel)s ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT s.lane FROM schedule s
                WHERE s.channel = %(channel)s AND s.lane > lanes.lane ORDER BY s.lane LIMIT 1)
        FROM lanes WHERE lanes.lane IS NOT NULL
    ), room AS MATERIALIZED (
        SELECT greatest(0, least(%(limit)s, %(window)s - count(*))) AS places
        FROM schedule WHERE channel = %(channel)s AND lease_until > now()
    ), ready AS MATERIALIZED (
        SELECT due.notification_id, due.rank_at,
               row_number() OVER (PARTITION BY lanes.lane ORDER BY due.rank_at) AS turn
        FROM lanes CROSS JOIN LATERAL (
            SELECT s.notification_id, s.rank_at FROM schedule s
            WHERE s.channel = %(channel)s AND s.lane = lanes.lane AND s.due_at <= now()
              AND (s.lease_until IS NULL OR s.lease_until <= now())
              AND s.rank_at <= now() + interval '{int(Priority.LOW.head_start.total_seconds())} s'
            ORDER BY s.rank_at LIMIT (SELECT places FROM room) FOR UPDATE SKIP LOCKED
        ) due
    ), chosen AS MATERIALIZED (
        SELECT notification_id, row_number() OVER (ORDER BY turn, rank_at) AS place FROM ready
        ORDER BY turn, rank_at LIMIT (SELECT places FROM room)
    )
    UPDATE schedule s
    SET lease_until = now() + %(duration)s, lease_token = %(token)s, rank_at = now() + %(duration)s + s.head_start
    FROM chosen WHERE s.notification_id = chosen.notification_id
    RETURNING chosen.place, s.notification_id
"""

_RENEW = """
    WITH asked AS MATERIALIZED (
        SELECT s.notification_id, s.lease_until FROM schedule s
        JOIN unnest(%(ids)b::uuid[], %(tokens)b::uuid[]) AS held (id, token)
          ON s.notification_id = held.id AND s.lease_token = held.token
    ), renewed AS (
        UPDATE schedule s SET lease_until = now() + %(duration)s, rank_at = now() + %(duration)s + s.head_start
        FROM asked, unnest(%(ids)b::uuid[], %(tokens)b::uuid[]) AS held (id, token)
        WHERE asked.lease_until - now() < %(enough)s AND s.notification_id = asked.notification_id
          AND s.notification_id = held.id AND s.lease_token = held.token
        RETURNING s.notification_id
    )
    SELECT notification_id FROM asked WHERE lease_until - now() >= %(enough)s
    UNION ALL SELECT notification_id FROM renewed
"""

_LEASE_LOCK = 0x0CA7
_IN_TURN = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"


class PostgresDueWork:
    """Leases by `FOR UPDATE SKIP LOCKED`: dispatchers never wait for what workers do nor take the same work.

    Of one channel they lease in turn, so that each sees how much the others hold.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lease(self, channel: Channel, limit: int, window: int, duration: timedelta) -> list[Lease]:
        token = uuid4()
        values = {"channel": channel, "limit": limit, "window": window, "duration": duration, "token": token}
        async with self._database.connection() as connection, connection.pipeline(), connection.transaction():
            await connection.execute(_IN_TURN, (_LEASE_LOCK, channel), prepare=True)
            leased = await connection.execute(_LEASE, values, prepare=True, binary=True)
            rows = await leased.fetchall()
        return [Lease(id, token, channel) for _, id in sorted(rows)]

    async def renew(
        self, leases: Sequence[Lease], duration: timedelta, *, enough: timedelta | None = None
    ) -> list[Lease]:
        """What lasts long enough is only read: an update is a new row, with four entries in indexes."""
        values = {"duration": duration, "enough": enough or duration, **_columns(leases)}
        kept = {id for (id,) in await self._database.rows(_RENEW, values)}
        return [lease for lease in leases if lease.notification in kept]

    async def release(self, leases: Sequence[Lease]) -> None:
        await self._database.rows(
            "UPDATE schedule s SET lease_until = NULL, lease_token = NULL, rank_at = s.due_at + s.head_start"
            " FROM unnest(%(ids)b::uuid[], %(tokens)b::uuid[]) AS held (id, token)"
            " WHERE s.notification_id = held.id AND s.lease_token = held.token",
            _columns(leases),
        )

    async def set_aside(self, leases: Sequence[Lease]) -> None:
        await self._database.rows(
            "UPDATE schedule s SET lease_until = NULL, lease_token = NULL, unreadable = unreadable + 1,"
            " due_at = later, rank_at = later + head_start"
            " FROM (SELECT notification_id,"
            "  now() + least(interval '1 min' * 2 ^ least(unreadable, 10), interval '1 h') AS later FROM schedule"
            "  JOIN unnest(%(ids)b::uuid[], %(tokens)b::uuid[]) AS held (id, token)"
            "  ON notification_id = held.id AND lease_token = held.token) aside"
            " WHERE s.notification_id = aside.notification_id",
            _columns(leases),
        )

    async def drop(self, leases: Sequence[Lease]) -> None:
        await self._database.rows(
            "DELETE FROM schedule s USING unnest(%(ids)b::uuid[], %(tokens)b::uuid[]) AS held (id, token)"
            " WHERE s.notification_id = held.id AND s.lease_token = held.token",
            _columns(leases),
        )

    async def next_due(self, channel: Channel) -> timedelta | None:
        ((wait,),) = await self._database.rows(
            "SELECT min(ready_at) - now() FROM ("
            "  (SELECT greatest(due_at, coalesce(lease_until, due_at)) AS ready_at FROM schedule"
            "   WHERE channel = %(channel)s AND lease_until IS NULL ORDER BY due_at LIMIT 1)"
            "  UNION ALL"
            "  (SELECT lease_until FROM schedule"
            "   WHERE channel = %(channel)s AND lease_until IS NOT NULL ORDER BY lease_until LIMIT 1)"
            ") soonest",
            {"channel": channel},
        )
        return None if wait is None else wait

    async def backlog(self) -> list[Backlog]:
        rows = await self._database.rows(
            "SELECT channel, count(*) FILTER (WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())),"
            " count(*) FILTER (WHERE due_at > now()), count(*) FILTER (WHERE lease_until > now()),"
            " coalesce(now() - min(due_at) FILTER (WHERE due_at <= now()), interval '0'),"
            " count(*) FILTER (WHERE unreadable > 0)"
            " FROM schedule GROUP BY channel ORDER BY channel",
            {},
        )
        return [Backlog(*row) for row in rows]


def _columns(leases: Sequence[Lease]) -> dict[str, Any]:
    return {"ids": [lease.notification for lease in leases], "tokens": [lease.token for lease in leases]}
