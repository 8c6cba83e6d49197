"""Leasing in the step that stores: a process offers to take what is due at once, and an append takes the offer up."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from uuid import UUID, uuid4

import msgspec
from msgspec.structs import astuple
from psycopg import Notify

from adapters.lease_tray import LeaseTray
from adapters.postgres.budget import ACCOUNT, TODAY, PostgresProviderBudget
from adapters.postgres.database import Database
from adapters.postgres.due_work import LEASE_LOCK
from adapters.postgres.notices import Row, heard
from application.ports.due_work import Lease
from domain.vocabulary import Channel

CameAlong = Callable[[Collection[Row]], None]
"""Takes what was stored, for who will work on it."""

_STANDS_FOR = timedelta(seconds=3)
"""Without being made again: a process that hangs is given nothing after that."""

_LISTENS = 0x0CA8
"""With the holder: a lock of the connection that hears of what is assigned. It is free once that is gone."""

_MUCH_UNHEARD = 0.02
"""Of what PostgreSQL keeps for those who listen and do not read, which is 8 GB at the most."""

_OF_OFFER = {"burst": "at_once", "rate": "per_second", "provider": "of_provider"}

REPLACE_MAKE_OFFER = f"""
    CREATE OR REPLACE FUNCTION make_offer(
        of_channel text, of_holder uuid, new_token uuid, most int, lasting interval, stands interval,
        of_provider text, paced boolean, per_second float8, at_once float8, per_day bigint
    ) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        account record;
        wanted int;
    BEGIN
        PERFORM pg_advisory_xact_lock({LEASE_LOCK}, hashtext(of_channel));
        PERFORM end_offers(of_channel, of_holder);
        SELECT least(most / 4 / (count(*) + 1), most / 2 - coalesce(sum(places), 0) - (
                   SELECT count(*) FROM schedule WHERE channel = of_channel AND lease_until > now()))
        INTO wanted FROM offers WHERE channel = of_channel;
        {ACCOUNT % _OF_OFFER} INTO account;
        IF NOT FOUND OR wanted <= 0 OR (paced AND account.tokens < wanted) OR per_day - account.day_used < wanted THEN
            wanted := 0;
        ELSE
            UPDATE provider_budgets
            SET tokens = account.tokens - CASE WHEN paced THEN wanted ELSE 0 END, refilled_at = clock_timestamp(),
                day = {TODAY}, day_used = account.day_used + wanted
            WHERE provider = of_provider;
        END IF;
        INSERT INTO offers VALUES
            (new_token, of_channel, of_holder, wanted, clock_timestamp() + stands, lasting, of_provider);
    END $$;
"""
"""First the lock of who leases, then the provider's account: who leases takes them in this order, too."""

CREATE_OFFERS = f"""
    CREATE UNLOGGED TABLE offers (
        token uuid PRIMARY KEY,
        channel text NOT NULL,
        holder uuid NOT NULL,
        places int NOT NULL,
        stands_until timestamptz NOT NULL,
        lasting interval NOT NULL,
        provider text NOT NULL
    ) WITH (fillfactor = 50);
    CREATE INDEX offers_standing ON offers (channel, stands_until);

    CREATE FUNCTION end_offers(of_channel text, of_holder uuid) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        WITH gone AS (
            DELETE FROM offers WHERE channel = of_channel AND (holder = of_holder OR stands_until < clock_timestamp())
            RETURNING provider, places
        )
        UPDATE provider_budgets b SET tokens = tokens + unused, day_used = greatest(0, day_used - unused)
        FROM (SELECT provider, sum(places) AS unused FROM gone GROUP BY provider) each
        WHERE b.provider = each.provider AND unused > 0;
    END $$;

    {REPLACE_MAKE_OFFER}

    CREATE FUNCTION take_up_offer(
        of_channel text, many bigint, of_lanes text[], OUT taker uuid, OUT new_token uuid, OUT lapses timestamptz
    ) LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE offers SET places = places - many
        WHERE token = (
            SELECT o.token FROM offers o
            WHERE o.channel = of_channel AND o.stands_until > clock_timestamp() AND o.places >= many
              AND NOT pg_try_advisory_xact_lock({_LISTENS}, hashtext(o.holder::text))
              AND NOT EXISTS (SELECT FROM lanes l WHERE l.channel = of_channel AND l.lane = ANY(of_lanes))
              AND NOT EXISTS (SELECT FROM provider_budgets b
                              WHERE b.provider = o.provider AND b.paused_until > clock_timestamp())
              AND pg_notification_queue_usage() < {_MUCH_UNHEARD}
            ORDER BY o.places DESC LIMIT 1 FOR UPDATE SKIP LOCKED
        )
        RETURNING holder, token, clock_timestamp() + lasting INTO taker, new_token, lapses;
    END $$;
"""
"""An offer has so many places, for which its provider's budget is charged when it is made; what is left is given back.
Those of one channel have a quarter of the window together: one that got no place counts too, so that the others leave
it some next time. What stands offered counts as held, and in each lane, so that none ever holds more than it may.

The table is lost with a crash of the server, which is right, for then nobody knows who is still there; what was charged
for places then stays charged. Each offer is a row of its own, so that a long snapshot keeps no long chain of versions.

`take_up_offer` answers NULLs where there is no room, where nobody hears any more, or where so much is unheard that
notices had better be short: it never waits. It locks the offer until the append is over, and who ends the offer waits
for that. A lease counts from the moment of the answer, which comes after the offer was made.
"""

_MAKE = "SELECT make_offer(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"

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
    was stored comes along with the notice; `came_along` gets it. Should a notice be lost, the next renewal finds what
    was assigned and not heard of.
    """

    def __init__(
        self, database: Database, budget: PostgresProviderBudget, came_along: CameAlong = lambda rows: None
    ) -> None:
        self._database = database
        self._budget = budget
        self._came_along = came_along
        self._holder = uuid4()
        self._offers: dict[UUID, _Offer] = {}
        self._tray = LeaseTray()
        self.notices = f"assigned_{self._holder.hex}"
        """Where PostgreSQL tells of what was assigned; `hear` wants to be told."""
        self.lock = _LISTENS, str(self._holder)

    async def make(self, channel: Channel, provider: str, window: int, duration: timedelta) -> None:
        token, now = uuid4(), monotonic()
        self._offers = {token: offer for token, offer in self._offers.items() if offer.lapses > now}
        lapses = now + (_STANDS_FOR + duration).total_seconds()
        self._offers[token] = _Offer(channel, now, lapses, set())
        terms = await self._budget.terms(provider)
        values = channel, self._holder, token, window, duration, _STANDS_FOR, provider, *astuple(terms)
        await self._database.rows(_MAKE, values)
        await self._look(channel)

    async def withdraw(self, channel: Channel) -> list[Lease]:
        """Once this has waited for the append that has just taken it up, nobody takes it up any more."""
        await self._database.rows("SELECT end_offers(%s, %s)", (channel, self._holder))
        await self._look(channel)
        return self._tray.take(channel)

    async def taken(self, channel: Channel, timeout: float) -> list[Lease]:
        return await self._tray.wait_and_take(channel, timeout)

    def hear(self, notices: Sequence[Notify]) -> None:
        """What cannot be read is found like what was lost."""
        for each in notices:
            token, *words = each.payload.split(" ")
            with suppress(ValueError):
                ids, rows = heard(words)
                if fresh := self._assign(UUID(token), ids):
                    self._came_along([row for row in rows if row[0] in fresh])

    async def _look(self, channel: Channel) -> None:
        tokens = [token for token, offer in self._offers.items() if offer.channel == channel]
        for id, token in await self._database.rows(_ASSIGNED, (channel, tokens)):
            self._assign(token, [id])

    def _assign(self, token: UUID, ids: Iterable[UUID]) -> set[UUID]:
        """Those of them that are told of for the first time; none by an offer whose leases have all lapsed."""
        if (offer := self._offers.get(token)) is None:
            return set()
        fresh = {id for id in ids if id not in offer.told}
        offer.told |= fresh
        if fresh:
            self._tray.put(offer.channel, [Lease(id, token, offer.channel, offer.since) for id in fresh])
        return fresh
