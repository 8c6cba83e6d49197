"""Leasing in the step that stores: a process offers to take what is due at once, and an append takes the offer up."""

from base64 import b64decode
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import msgspec
from psycopg import Notify

from adapters.bell import Bell
from adapters.postgres.budget import ACCOUNT, TODAY, PostgresProviderBudget
from adapters.postgres.database import Database
from adapters.postgres.due_work import LEASE_LOCK
from adapters.postgres.log_writer import APPEND_LOCK
from application.ports.due_work import Lease
from domain.vocabulary import Channel

CameAlong = Callable[[Collection[tuple[Any, ...]]], None]
"""Takes rows of the log: originator_id, originator_version, topic, state, and 0 for the position."""

_STANDS_FOR = timedelta(seconds=3)
"""Without being made again: a process that hangs is given nothing after that."""

_LISTENS = 0x0CA8
"""With the holder: a lock of the connection that hears of what is assigned. It is free once that is gone."""

_MOST = 200
"""Ids that a notice holds: a payload is shorter than 8,000 bytes."""

_TERMS = {"burst": "offer.at_once", "rate": "offer.per_second", "provider": "offer.provider"}

CREATE_OFFERS = f"""
    CREATE UNLOGGED TABLE IF NOT EXISTS offers (
        channel text,
        holder uuid,
        token uuid NOT NULL,
        stands_until timestamptz NOT NULL,
        places int NOT NULL,
        lasting interval NOT NULL,
        provider text NOT NULL,
        paced boolean NOT NULL,
        per_second double precision NOT NULL,
        at_once double precision NOT NULL,
        per_day bigint NOT NULL,
        PRIMARY KEY (channel, holder)
    ) WITH (fillfactor = 50);

    CREATE OR REPLACE FUNCTION take_up_offer(
        of_channel text, fresh_lanes text[], OUT taker uuid, OUT new_token uuid, OUT lapses timestamptz
    ) LANGUAGE plpgsql AS $$
    DECLARE
        wanted int := cardinality(fresh_lanes);
        fits boolean;
        offer offers;
        account record;
    BEGIN
        SELECT * INTO offer FROM offers o
        WHERE o.channel = of_channel AND o.stands_until > clock_timestamp() AND wanted <= {_MOST}
        ORDER BY random() LIMIT 1;
        IF NOT FOUND OR pg_try_advisory_xact_lock({_LISTENS}, hashtext(offer.holder::text))
           OR NOT pg_try_advisory_xact_lock({LEASE_LOCK}, hashtext(of_channel)) THEN
            RETURN;
        END IF;
        WITH held AS MATERIALIZED (
            SELECT s.lane, count(*) AS many FROM schedule s
            WHERE s.channel = of_channel AND s.lease_until > clock_timestamp() GROUP BY s.lane
        )
        SELECT wanted <= offer.places - (SELECT coalesce(sum(held.many), 0) FROM held)
           AND bool_and(l.lane IS NULL AND new.many + coalesce(held.many, 0) <= ceil(offer.places / 2.0))
        INTO fits
        FROM (SELECT sent.lane, count(*) AS many FROM unnest(fresh_lanes) AS sent (lane) GROUP BY sent.lane) new
        LEFT JOIN held ON held.lane = new.lane
        LEFT JOIN lanes l ON l.channel = of_channel AND l.lane = new.lane;
        IF NOT fits THEN
            RETURN;
        END IF;
        {ACCOUNT % _TERMS} SKIP LOCKED INTO account;
        IF NOT FOUND OR (offer.paced AND account.tokens < wanted) OR offer.per_day - account.day_used < wanted THEN
            RETURN;
        END IF;
        UPDATE provider_budgets
        SET tokens = account.tokens - CASE WHEN offer.paced THEN wanted ELSE 0 END, refilled_at = clock_timestamp(),
            day = {TODAY}, day_used = account.day_used + wanted
        WHERE provider = offer.provider;
        taker := offer.holder;
        new_token := offer.token;
        lapses := clock_timestamp() + offer.lasting;
    END $$;

    CREATE OR REPLACE FUNCTION tell_of_assigned(
        taker uuid, new_token uuid, assigned uuid[], ids uuid[], versions bigint[], topics text[], states bytea[]
    ) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        events text;
    BEGIN
        SELECT string_agg(
            concat_ws(' ', id, version, topic, translate(encode(state, 'base64'), E'\\n', '')), ' ' ORDER BY place)
        INTO events
        FROM unnest(ids, versions, topics, states) WITH ORDINALITY AS new (id, version, topic, state, place)
        WHERE id = ANY(assigned)
        HAVING count(*) FILTER (WHERE version = 1) = cardinality(assigned);
        PERFORM pg_notify('assigned_' || replace(taker::text, '-', ''), new_token || CASE
            WHEN octet_length(events) < 7900 THEN ' events ' || events
            ELSE ' ids ' || array_to_string(assigned, ' ') END);
    END $$;
"""
"""An offer is lost with a crash of the server, which is right: then nobody knows who is still there.

`take_up_offer` answers NULLs where there is no room, where nobody hears any more, or where somebody is leasing just
now: it never waits. A lease counts from the moment of the answer, which comes after the offer was made.

`tell_of_assigned` sends along what was stored, as sealed as it is there, if the streams began with it and it fits.
"""

_MAKE = """
    WITH gone AS (DELETE FROM offers WHERE stands_until < clock_timestamp() - interval '1 min')
    INSERT INTO offers VALUES (%(channel)s, %(holder)s, %(token)s, clock_timestamp() + %(stands)s, %(places)s,
        %(lasting)s, %(provider)s, %(paced)s, %(rate)s, %(burst)s, %(per_day)s)
    ON CONFLICT (channel, holder) DO UPDATE SET token = excluded.token, stands_until = excluded.stands_until
"""

_ASSIGNED = """
    SELECT notification_id, lease_token FROM schedule
    WHERE channel = %s AND lease_until > now() AND lease_token = ANY(%s)
"""


class _Offer(msgspec.Struct):
    """One that was made: when, by the monotonic clock in seconds, until when leases by it last, and whom it got."""

    channel: Channel
    since: float
    lapses: float
    told: set[UUID]


class PostgresOffers:
    """Implements the port Offers for one process. Each renewal is an offer of its own, with a token of its own.

    So whatever bears a token was leased after that offer was made, and no id is handed out twice for one token. What
    was stored comes along with the notice; `came_along` gets it. Nothing is assigned to who does not listen, and should
    a notice be lost, each renewal looks for what was assigned and not heard of.
    """

    def __init__(self, database: Database, budget: PostgresProviderBudget, came_along: CameAlong) -> None:
        self._database = database
        self._budget = budget
        self._came_along = came_along
        self._holder = uuid4()
        self._offers: dict[UUID, _Offer] = {}
        self._waiting: dict[Channel, list[Lease]] = {}
        self._bells: dict[Channel, Bell] = {}
        self.notices = f"assigned_{self._holder.hex}"
        """Where PostgreSQL tells of what was assigned; `hear` wants to be told."""
        self.lock = _LISTENS, str(self._holder)

    async def make(self, channel: Channel, provider: str, window: int, duration: timedelta) -> None:
        terms, token, now = await self._budget.terms(provider), uuid4(), monotonic()
        self._offers = {token: offer for token, offer in self._offers.items() if offer.lapses > now}
        lapses = now + (_STANDS_FOR + duration).total_seconds()
        self._offers[token] = _Offer(channel, now, lapses, set())
        values = {"channel": channel, "holder": self._holder, "token": token, "stands": _STANDS_FOR, "places": window}
        await self._database.rows(
            _MAKE, values | {"lasting": duration, "provider": provider, **msgspec.structs.asdict(terms)}
        )
        await self._look(channel)

    async def withdraw(self, channel: Channel) -> list[Lease]:
        """Waits for the append that is under way, which may take up what it still saw."""
        await self._database.rows(
            "DELETE FROM offers WHERE channel = %s AND holder = %s", (channel, self._holder), binary=False
        )
        await self._database.rows("SELECT FROM pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        await self._look(channel)
        return self._take(channel)

    async def taken(self, channel: Channel, timeout: float) -> list[Lease]:
        if not self._waiting.get(channel):
            await self._bell(channel).wait(timeout)
        return self._take(channel)

    def hear(self, notices: Sequence[Notify]) -> None:
        """What `tell_of_assigned` says: a token and then either ids or events of four words each."""
        for notice in notices:
            token, kind, *words = notice.payload.split(" ")
            if kind == "ids":
                self._assign(UUID(token), map(UUID, words))
                continue
            rows = [
                (UUID(id), int(version), topic, b64decode(state), 0)
                for id, version, topic, state in zip(*[iter(words)] * 4, strict=True)
            ]
            if fresh := self._assign(UUID(token), dict.fromkeys(row[0] for row in rows)):
                self._came_along([row for row in rows if row[0] in fresh])

    async def _look(self, channel: Channel) -> None:
        tokens = [token for token, offer in self._offers.items() if offer.channel == channel]
        for id, token in await self._database.rows(_ASSIGNED, (channel, tokens)):
            self._assign(token, [id])

    def _assign(self, token: UUID, ids: Any) -> set[UUID]:
        """Those of them that are told of for the first time; none by an offer whose leases have all lapsed."""
        if (offer := self._offers.get(token)) is None:
            return set()
        fresh = {id for id in ids if id not in offer.told}
        offer.told |= fresh
        if fresh:
            self._waiting.setdefault(offer.channel, []).extend(
                Lease(id, token, offer.channel, offer.since) for id in fresh
            )
            self._bell(offer.channel).ring()
        return fresh

    def _take(self, channel: Channel) -> list[Lease]:
        return self._waiting.pop(channel, [])

    def _bell(self, channel: Channel) -> Bell:
        return self._bells.setdefault(channel, Bell())
