"""Offers and appends on PostgreSQL: what is lost on the way is found, and nobody waits for anybody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from adapters.postgres.due_work import LEASE_LOCK
from adapters.postgres.offers import PostgresOffers
from adapters.postgres.wakeup import WORK, PostgresWakeups
from application.ports.log import StoreUnavailableError
from domain.notification import Notification
from domain.vocabulary import Channel
from tests.application import until
from tests.contract.conftest import PostgresHouse
from tests.examples import notification

MINUTE = timedelta(minutes=1)
EMAIL = Channel.EMAIL


@asynccontextmanager
async def offering(conninfo: str, *, deaf: bool = False) -> AsyncIterator[PostgresHouse]:
    """A process that listens for what it is given; a deaf one hears nothing of it."""
    async with PostgresHouse(conninfo) as house:
        wakeups = PostgresWakeups(conninfo, WORK, house.offers)
        if deaf:
            house.offers.hear = lambda notices: None
        await wakeups.bell().wait(5)
        try:
            yield house
        finally:
            await wakeups.close()


@pytest.fixture
async def house(conninfo: str) -> AsyncIterator[PostgresHouse]:
    async with offering(conninfo) as house:
        yield house


@pytest.fixture
async def deaf(conninfo: str) -> AsyncIterator[PostgresHouse]:
    async with offering(conninfo, deaf=True) as house:
        yield house


async def stored(house: PostgresHouse, many: int = 1) -> list[UUID]:
    person = house.events.person("acme", "ada@example.com")
    made = [notification(uuid4(), person=person, now=datetime.now(UTC)) for _ in range(many)]
    await house.events.save(*made)
    return [each.id for each in made]


async def offered(house: PostgresHouse, window: int = 1_000) -> None:
    await house.offers.make(EMAIL, "free", window, MINUTE)


async def test_what_nobody_heard_of_is_found_when_it_is_offered_again(deaf):
    await offered(deaf)
    (given,) = await stored(deaf)
    assert await deaf.offers.taken(EMAIL, 0.05) == []
    await offered(deaf)
    (found,) = await deaf.offers.taken(EMAIL, 5)
    assert found.notification == given
    assert await deaf.due.renew([found], MINUTE) == [found]


async def test_a_notice_that_comes_late_tells_of_nothing_twice(deaf):
    await offered(deaf)
    await stored(deaf)
    (found,) = await deaf.offers.withdraw(EMAIL)
    late = psycopg.Notify(deaf.offers.notices, f"{found.token} ids {found.notification}", 1)
    PostgresOffers.hear(deaf.offers, [late])
    assert await deaf.offers.taken(EMAIL, 0.05) == []


async def test_a_notice_that_nobody_can_read_stops_nothing(house):
    await offered(house)
    for payload in ("", "x", "x y z", f"{uuid4()} ids no", f"{uuid4()} events a b c"):
        await house.database.rows("SELECT pg_notify(%s, %s)", (house.offers.notices, payload))
    (given,) = await stored(house)
    (lease,) = await house.offers.taken(EMAIL, 5)
    assert lease.notification == given


async def test_who_does_not_listen_any_more_is_given_nothing(conninfo):
    async with offering(conninfo) as gone:
        await offered(gone)
    async with PostgresHouse(conninfo) as other:
        given = await stored(other)
        assert [lease.notification for lease in await other.due.lease(EMAIL, 10, 1_000, MINUTE)] == given


async def test_what_somebody_else_was_given_is_not_ours(house):
    await offered(house)
    house.offers.hear([psycopg.Notify(house.offers.notices, f"{uuid4()} ids {uuid4()}", 1)])
    assert await house.offers.taken(EMAIL, 0.05) == []


async def test_what_was_stored_comes_along_and_is_read_once_without_asking(house, monkeypatch):
    await offered(house)
    (given,) = await stored(house)
    await house.offers.taken(EMAIL, 5)
    with monkeypatch.context() as patch:
        patch.setattr(house.database, "rows", _away)
        with pytest.raises(StoreUnavailableError):
            await house.events.get(Notification, given)
        it = (await house.arrivals.read([given]))[given]
        with pytest.raises(StoreUnavailableError):
            await house.arrivals.read([given])
    assert (it.letter.address, it.version) == ("ada@example.com", 1)
    assert await house.arrivals.read([given]) == {given: it}


async def test_beside_what_came_along_the_rest_is_read(house):
    (before,) = await stored(house)
    await offered(house)
    (given,) = await stored(house)
    await house.offers.taken(EMAIL, 5)
    assert set(await house.arrivals.read([before, given])) == {before, given}


async def _away(*_: object, **__: object) -> None:
    raise StoreUnavailableError


async def test_what_is_too_long_to_come_along_is_read(house):
    await offered(house)
    given = await stored(house, 120)
    leases = await house.offers.taken(EMAIL, 5)
    assert {lease.notification for lease in leases} == set(given)
    assert set(await house.arrivals.read(given)) == set(given)


async def test_more_than_a_notice_can_name_is_leased_as_ever(house):
    await offered(house)
    await stored(house, 201)
    assert len(await house.due.lease(EMAIL, 1_000, 1_000, MINUTE)) == 201


@pytest.mark.parametrize(
    ("busy", "taken"),
    [
        (f"SELECT pg_advisory_xact_lock({LEASE_LOCK}, hashtext('email'))", True),
        ("SELECT FROM offers FOR UPDATE", False),
    ],
)
async def test_an_append_waits_neither_for_who_leases_nor_for_who_offers(house, conninfo, busy, taken):
    await offered(house)
    async with await psycopg.AsyncConnection.connect(conninfo) as other:
        await other.execute(busy)
        async with asyncio.timeout(5):
            given = await stored(house)
    leases = await house.offers.taken(EMAIL, 5) if taken else await house.due.lease(EMAIL, 10, 1_000, MINUTE)
    assert [lease.notification for lease in leases] == given


async def test_who_offers_touches_no_budget_before_it_is_its_turn_to_lease(house, conninfo):
    """Who leases takes the turn first, then the budget: the other way round each would wait for the other."""
    await house.offers.make(EMAIL, "daily", 100, MINUTE)
    async with await psycopg.AsyncConnection.connect(conninfo) as leasing:
        await leasing.execute(f"SELECT pg_advisory_xact_lock({LEASE_LOCK}, hashtext('email'))")
        offer = asyncio.create_task(house.offers.make(EMAIL, "daily", 100, MINUTE))

        async def is_waited_for() -> bool:
            waiting = await leasing.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            return waiting.rowcount > 0

        await until(is_waited_for)
        budget = await leasing.execute("SELECT FROM provider_budgets WHERE provider = 'daily' FOR UPDATE NOWAIT")
        assert budget.rowcount == 1
    await offer


async def test_who_withdraws_waits_for_the_append_that_has_just_taken_it_up(house, conninfo):
    await offered(house)
    async with await psycopg.AsyncConnection.connect(conninfo) as other:
        ((token,),) = await (
            await other.execute("SELECT new_token FROM take_up_offer('email', 1, '{acme}')")
        ).fetchall()
        given = uuid4()
        await other.execute(
            "INSERT INTO schedule (notification_id, tenant_id, channel, lane, head_start, due_at, rank_at, attempt,"
            " lease_until, lease_token)"
            " VALUES (%s, 'acme', 'email', 'acme', '0', now(), now(), 1, now() + '1 min', %s)",
            (given, token),
        )
        withdrawing = asyncio.create_task(house.offers.withdraw(EMAIL))
        done, _ = await asyncio.wait([withdrawing], timeout=0.3)
        assert not done
        await other.commit()
    async with asyncio.timeout(5):
        assert [lease.notification for lease in await withdrawing] == [given]


async def test_a_lease_counts_from_after_the_offer_though_the_append_began_before(house, conninfo):
    """Who holds it trusts that it lasts until the offer was made and the lease is over."""
    async with await psycopg.AsyncConnection.connect(conninfo) as slow:
        await slow.execute("SELECT 1")  # from here on its now() stands still
        await asyncio.sleep(0.5)
        await offered(house)
        answer = await slow.execute("SELECT lapses - now() FROM take_up_offer('email', 1, '{acme}')")
        ((lasts,),) = await answer.fetchall()
    assert lasts >= MINUTE + timedelta(seconds=0.5)


async def test_offers_of_who_is_gone_are_swept_and_cost_nothing_any_more(house, conninfo):
    await offered(house)
    await house.database.rows("UPDATE offers SET stands_until = now() - interval '1 s'", binary=False)
    async with PostgresHouse(conninfo) as other:
        await offered(other)
        await other.offers.withdraw(EMAIL)
    assert await house.database.rows("SELECT (SELECT count(*) FROM offers), sum(day_used) FROM provider_budgets") == [
        (0, 0)
    ]


async def test_of_two_who_offer_each_is_told_of_its_own(conninfo):
    async with offering(conninfo) as one, offering(conninfo) as other:
        for house in (one, other, one, other):
            await offered(house)
        given = [id for _ in range(16) for id in await stored(one)]
        firsts, seconds = await one.offers.withdraw(EMAIL), await other.offers.withdraw(EMAIL)
        assert sorted(lease.notification for lease in firsts + seconds) == sorted(given)
        assert firsts
        assert seconds
