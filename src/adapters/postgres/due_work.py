"""The schedule: derived from the log, leased by the database's clock."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import astuple

from adapters.postgres.budget import ACCOUNT, TODAY, PostgresProviderBudget
from adapters.postgres.database import Database
from application.ports.due_work import Backlog, Lease, Turn
from application.ports.log import StoreUnavailableError
from domain.breaker import PROVEN_FOR, SLOW_AFTER
from domain.subscription import SLOWEST
from domain.vocabulary import Channel, Priority

_PACE = f"CASE WHEN l.per_second IS NOT NULL THEN greatest(l.per_second, {SLOWEST}) END"
_BURST = "greatest(1, l.per_second / 10)"
_PROVEN_SINCE = f"now() - interval '{int(PROVEN_FOR.total_seconds())} s'"
_UNPROVEN = f"l.concurrency IS NOT NULL AND coalesce(l.worked_at <= {_PROVEN_SINCE}, true)"
_SLOW_SINCE = f"now() - interval '{int(SLOW_AFTER.total_seconds())} s'"
_SLOW = f"count(*) FILTER (WHERE l.concurrency IS NOT NULL AND s.leased_at <= {_SLOW_SINCE})"
_PACED_UNTIL = f"l.free_at - interval '1 s' * (({_BURST} - 1) / {_PACE})"


def _standing(slow: str) -> str:
    """Of a lane of which so many have been leased for long."""
    return f"""CASE WHEN l.closed_until IS NOT NULL THEN 'tried' WHEN {_UNPROVEN} THEN 'unproven'
                    WHEN {slow} > 0 THEN 'slow' ELSE 'proven' END"""


def _at_a_time(slow: str) -> str:
    return f"""CASE WHEN l.closed_until IS NOT NULL OR {_UNPROVEN} THEN 1
                    WHEN {slow} > 0 THEN least(l.concurrency, {slow} + 1) ELSE l.concurrency END"""


_LEASED = f"""
    WITH RECURSIVE waiting (lane) AS (
        (SELECT lane FROM schedule WHERE channel = %(channel)s ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT s.lane FROM schedule s
                WHERE s.channel = %(channel)s AND s.lane > waiting.lane ORDER BY s.lane LIMIT 1)
        FROM waiting WHERE waiting.lane IS NOT NULL
    ), held AS MATERIALIZED (
        SELECT s.lane, count(*) AS many, {_SLOW} AS slow, {_standing(_SLOW)} AS standing
        FROM schedule s LEFT JOIN lanes l ON l.channel = s.channel AND l.lane = s.lane
        WHERE s.channel = %(channel)s AND s.lease_until > now() GROUP BY s.lane, l.channel, l.lane
    ), offered AS MATERIALIZED (
        SELECT coalesce(sum(o.places), 0) AS places FROM offers o
        WHERE o.channel = %(channel)s AND o.stands_until > clock_timestamp()
    ), room AS MATERIALIZED (
        SELECT greatest(0, least(%(limit)s, %(window)s - coalesce(sum(many), 0) - (SELECT places FROM offered)))
                 AS places,
               ceil(%(window)s / 4.0) - coalesce(sum(many) FILTER (WHERE standing = 'tried'), 0) AS tried,
               ceil(%(window)s / 4.0) - coalesce(sum(many) FILTER (WHERE standing = 'unproven'), 0) AS unproven,
               ceil(%(window)s / 2.0) - coalesce(sum(many) FILTER (WHERE standing = 'slow'), 0) AS slow
        FROM held
    ), open AS MATERIALIZED (
        SELECT waiting.lane, {_standing("held.slow")} AS standing, greatest(0, least(
            ceil(%(window)s / 2.0) - coalesce(held.many, 0) - (SELECT places FROM offered),
            {_at_a_time("held.slow")} - coalesce(held.many, 0),
            floor({_BURST} - extract(epoch FROM greatest(l.free_at, now()) - now()) * {_PACE}),
            (SELECT places FROM room)
        )) AS places
        FROM waiting LEFT JOIN lanes l ON l.channel = %(channel)s AND l.lane = waiting.lane
        LEFT JOIN held ON held.lane = waiting.lane
        WHERE waiting.lane IS NOT NULL AND l.held IS NOT TRUE AND coalesce(l.closed_until <= now(), true)
    ), ready AS MATERIALIZED (
        SELECT due.notification_id, due.rank_at, open.lane, open.standing,
               row_number() OVER (PARTITION BY open.lane ORDER BY due.rank_at) AS turn
        FROM open CROSS JOIN LATERAL (
            SELECT s.notification_id, s.rank_at FROM schedule s
            WHERE s.channel = %(channel)s AND s.lane = open.lane AND s.due_at <= now()
              AND (s.lease_until IS NULL OR s.lease_until <= now())
              AND s.rank_at <= now() + interval '{int(Priority.LOW.head_start.total_seconds())} s'
            ORDER BY s.rank_at LIMIT open.places FOR UPDATE SKIP LOCKED
        ) due
        WHERE open.places > 0
    ), chosen AS MATERIALIZED (
        SELECT notification_id, lane, row_number() OVER (ORDER BY turn, rank_at) AS place
        FROM (SELECT *, row_number() OVER (PARTITION BY standing ORDER BY turn, rank_at) AS among FROM ready) each
        WHERE among <= (SELECT CASE standing WHEN 'tried' THEN tried WHEN 'unproven' THEN unproven
                                    WHEN 'slow' THEN slow ELSE places END FROM room)
        ORDER BY turn, rank_at LIMIT (SELECT places FROM room)
    ), counted AS (
        UPDATE lanes l SET free_at = greatest(l.free_at, now()) + taken.many * interval '1 s' / {_PACE}
        FROM (SELECT lane, count(*) AS many FROM chosen GROUP BY lane) taken
        WHERE l.channel = %(channel)s AND l.lane = taken.lane AND l.per_second IS NOT NULL
    ), leased AS (
        UPDATE schedule s
        SET lease_until = now() + %(duration)s, lease_token = %(token)s, leased_at = now(),
            rank_at = now() + %(duration)s + s.head_start
        FROM chosen WHERE s.notification_id = chosen.notification_id
        RETURNING chosen.place, s.notification_id
    )
"""

_LEASE = f"{_LEASED} SELECT notification_id FROM leased ORDER BY place"

_NEXT_DUE = f"""
    WITH RECURSIVE waiting (lane) AS (
        (SELECT lane FROM schedule WHERE channel = %(channel)s AND lease_until IS NULL ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT s.lane FROM schedule s WHERE s.channel = %(channel)s AND s.lease_until IS NULL
                AND s.lane > waiting.lane ORDER BY s.lane LIMIT 1)
        FROM waiting WHERE waiting.lane IS NOT NULL
    ), busy AS MATERIALIZED (
        SELECT s.lane FROM schedule s JOIN lanes l ON l.channel = s.channel AND l.lane = s.lane
        WHERE s.channel = %(channel)s AND s.lease_until > now()
        GROUP BY l.channel, l.lane, s.lane HAVING count(*) >= {_at_a_time(_SLOW)}
    )
    SELECT min(ready_at) - now() FROM (
        SELECT greatest(l.closed_until, {_PACED_UNTIL},
            (SELECT s.due_at FROM schedule s WHERE s.channel = %(channel)s AND s.lane = waiting.lane
             AND s.lease_until IS NULL ORDER BY s.due_at LIMIT 1)) AS ready_at
        FROM waiting LEFT JOIN lanes l ON l.channel = %(channel)s AND l.lane = waiting.lane
        WHERE waiting.lane IS NOT NULL AND l.held IS NOT TRUE AND waiting.lane NOT IN (SELECT lane FROM busy)
        UNION ALL
        (SELECT lease_until FROM schedule
         WHERE channel = %(channel)s AND lease_until > now() ORDER BY lease_until LIMIT 1)
        UNION ALL
        (SELECT greatest(s.lease_until, l.closed_until, {_PACED_UNTIL})
         FROM schedule s LEFT JOIN lanes l ON l.channel = s.channel AND l.lane = s.lane
         WHERE s.channel = %(channel)s AND s.lease_until <= now() AND l.held IS NOT TRUE
           AND s.lane NOT IN (SELECT lane FROM busy))
    ) soonest
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

_TAKE_BACK = """
    UPDATE schedule SET lease_until = NULL, lease_token = NULL, rank_at = due_at + head_start
    WHERE channel = %s AND lease_until > now() AND lease_token = ANY(%s)
"""

_UNHEARD_SECONDS = 30.0
"""For which a dispatcher takes back what was leased by calls whose answer never came."""

LEASE_LOCK = 0x0CA7
"""With the channel: who leases is alone, so that each sees how much the others hold."""

_IN_TURN = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"

_GIVEN = {
    "channel": "of_channel",
    "window": "most",
    "duration": "lasting",
    "token": "new_token",
    "limit": "granted",
    "provider": "of_provider",
    "rate": "per_second",
    "burst": "at_once",
}

CREATE_LEASE_IN_BUDGET = f"""
    CREATE OR REPLACE FUNCTION lease_in_budget(
        of_channel text, most int, lasting interval, new_token uuid,
        of_provider text, paced boolean, per_second float8, at_once float8, per_day bigint,
        OUT taken uuid[], OUT wait interval
    ) LANGUAGE plpgsql AS $$
    DECLARE
        account record;
        granted int := 0;
    BEGIN
        PERFORM pg_advisory_xact_lock({LEASE_LOCK}, hashtext(of_channel));
        {ACCOUNT % _GIVEN} INTO account;
        IF FOUND THEN
            granted := greatest(0, least(
                most, CASE WHEN paced THEN floor(account.tokens) ELSE most END, per_day - account.day_used));
        END IF;
        IF granted > 0 THEN
            {_LEASED % _GIVEN}
            SELECT array_agg(notification_id ORDER BY place) INTO taken FROM leased;
        END IF;
        IF taken IS NOT NULL THEN
            UPDATE provider_budgets
            SET tokens = account.tokens - CASE WHEN paced THEN cardinality(taken) ELSE 0 END,
                refilled_at = clock_timestamp(), day = {TODAY}, day_used = account.day_used + cardinality(taken)
            WHERE provider = of_provider;
        END IF;
        {_NEXT_DUE % _GIVEN} INTO wait;
    END $$;
"""
"""A turn of a dispatcher in one call: each statement of it sees what the one before has done.

It waits for the disk like everything else. A lease that a crash of the server undid could be given to somebody else
while its holder stores an intent after the crash and calls: the log takes that intent, for nobody else has written yet.
"""

_RELEASE_LATER = """
    UPDATE schedule s SET lease_until = now() + %(after)s, lease_token = NULL,
        rank_at = now() + %(after)s + s.head_start
    FROM unnest(%(ids)b::uuid[], %(tokens)b::uuid[]) AS held (id, token)
    WHERE s.notification_id = held.id AND s.lease_token = held.token
"""


class PostgresDueWork:
    """Leases by `FOR UPDATE SKIP LOCKED`: dispatchers never wait for what workers do nor take the same work.

    Of one channel they lease in turn, so that each sees how much the others hold.
    """

    def __init__(self, database: Database, budget: PostgresProviderBudget | None = None) -> None:
        self._database = database
        self._budget = budget or PostgresProviderBudget(database, {})
        self._unheard: dict[UUID, float] = {}

    async def lease(self, channel: Channel, limit: int, window: int, duration: timedelta) -> list[Lease]:
        token, since = uuid4(), monotonic()
        values = {"channel": channel, "limit": limit, "window": window, "duration": duration, "token": token}
        async with self._database.connection() as connection, connection.pipeline(), connection.transaction():
            await connection.execute(_IN_TURN, (LEASE_LOCK, channel), prepare=True)
            leased = await connection.execute(_LEASE, values, prepare=True, binary=True)
            rows = await leased.fetchall()
        return [Lease(id, token, channel, since) for (id,) in rows]

    async def lease_in_budget(self, channel: Channel, provider: str, window: int, duration: timedelta) -> Turn:
        token, terms = uuid4(), await self._budget.terms(provider)
        if self._unheard:
            await self._take_back_unheard(channel)
        since = monotonic()
        try:
            ((taken, wait),) = await self._database.rows(
                "SELECT * FROM lease_in_budget(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (channel, window, duration, token, provider, *astuple(terms)),
            )
        except StoreUnavailableError:
            self._unheard[token] = monotonic() + _UNHEARD_SECONDS
            raise
        return Turn([Lease(id, token, channel, since) for id in taken or ()], wait)

    async def _take_back_unheard(self, channel: Channel) -> None:
        """What a server leased to us after we had given it up: it may still do so once it moves again."""
        await self._database.rows(_TAKE_BACK, (channel, list(self._unheard)))
        self._unheard = {token: until for token, until in self._unheard.items() if until > monotonic()}

    async def renew(
        self, leases: Sequence[Lease], duration: timedelta, *, enough: timedelta | None = None
    ) -> list[Lease]:
        """What lasts long enough is only read: an update is a new row, with four entries in indexes."""
        values = {"duration": duration, "enough": enough or duration, **_columns(leases)}
        kept = {id for (id,) in await self._database.rows(_RENEW, values)}
        return [lease for lease in leases if lease.notification in kept]

    async def release(self, leases: Sequence[Lease], *, after: timedelta = timedelta(0)) -> None:
        if after:
            await self._database.rows(_RELEASE_LATER, {"after": after, **_columns(leases)})
            return
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

    async def bundled(self, bundle: UUID, limit: int) -> list[UUID]:
        rows = await self._database.rows(
            "SELECT notification_id FROM schedule WHERE bundle = %s"
            " ORDER BY due_at > now(), unreadable > 0, due_at + head_start, notification_id LIMIT %s",
            (bundle, limit),
        )
        return [id for (id,) in rows]

    async def next_due(self, channel: Channel) -> timedelta | None:
        ((wait,),) = await self._database.rows(_NEXT_DUE, {"channel": channel})
        return None if wait is None else wait

    async def close_lane(self, channel: Channel, lane: str, duration: timedelta) -> None:
        await self._database.rows(
            "UPDATE lanes SET closed_until = greatest(closed_until, now() + %s)"
            " WHERE channel = %s AND lane = %s AND concurrency IS NOT NULL",
            (duration, channel, lane),
        )

    async def open_lane(self, channel: Channel, lane: str) -> None:
        await self._database.rows(
            "WITH opened AS (UPDATE lanes SET closed_until = NULL, worked_at = now() WHERE channel = %s AND lane = %s)"
            " SELECT pg_notify('due_work', %s)",
            (channel, lane, channel),
        )

    async def closed_lanes(self, channel: Channel, lanes: Collection[str]) -> set[str]:
        rows = await self._database.rows(
            "SELECT lane FROM lanes WHERE channel = %s AND lane = ANY(%s) AND closed_until IS NOT NULL",
            (channel, list(lanes)),
        )
        return {lane for (lane,) in rows}

    async def backlog(self) -> list[Backlog]:
        rows = await self._database.rows(
            "SELECT channel, count(*) FILTER (WHERE ready AND (lease_until IS NULL OR lease_until <= now())),"
            " count(*) FILTER (WHERE NOT ready), count(*) FILTER (WHERE lease_until > now()),"
            " coalesce(now() - min(due_at) FILTER (WHERE ready), interval '0'),"
            " count(*) FILTER (WHERE unreadable > 0)"
            " FROM (SELECT s.*, s.due_at <= now() AND l.held IS NOT TRUE AS ready FROM schedule s"
            "  LEFT JOIN lanes l ON l.channel = s.channel AND l.lane = s.lane) each"
            " GROUP BY channel ORDER BY channel",
            {},
        )
        return [Backlog(*row) for row in rows]

    async def unreadable(self) -> int:
        ((count,),) = await self._database.rows("SELECT count(*) FROM schedule WHERE unreadable > 0")
        return int(count)


def _columns(leases: Sequence[Lease]) -> dict[str, Any]:
    return {"ids": [lease.notification for lease in leases], "tokens": [lease.token for lease in leases]}
