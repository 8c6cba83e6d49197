"""Offers and appends on PostgreSQL: what is lost on the way is found, and nobody waits for anybody."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from adapters.postgres.due_work import LEASE_LOCK
from adapters.postgres.log_writer import APPEND_LOCK
from adapters.postgres.wakeup import WORK, PostgresWakeups
from application.ports.log import StoreUnavailableError
from domain.notification import Notification
from domain.vocabulary import Channel
from tests.contract.conftest import PostgresHouse
from tests.examples import notification

MINUTE = timedelta(minutes=1)
EMAIL = Channel.EMAIL


@pytest.fixture
async def house(conninfo: str) -> AsyncIterator[PostgresHouse]:
    """Who offers, and hears of nothing."""
    async with PostgresHouse(conninfo) as house:
        yield house


@pytest.fixture
async def hearing(conninfo: str, house: PostgresHouse) -> AsyncIterator[PostgresHouse]:
    """The same, and it hears of what it is given."""
    wakeups = PostgresWakeups(conninfo, WORK, {house.offers.notices: house.offers.hear})
    await wakeups.bell().wait(5)
    yield house
    await wakeups.close()


async def stored(house: PostgresHouse, many: int = 1) -> list[UUID]:
    person = house.events.person("acme", "ada@example.com")
    made = [notification(uuid4(), person=person, now=datetime.now(UTC)) for _ in range(many)]
    await house.events.save(*made)
    return [each.id for each in made]


async def offered(house: PostgresHouse, window: int = 1_000) -> None:
    await house.offers.make(EMAIL, "free", window, MINUTE)


async def test_what_nobody_heard_of_is_found_when_it_is_offered_again(house):
    await offered(house)
    (given,) = await stored(house)
    assert await house.offers.taken(EMAIL, 0.05) == []
    await offered(house)
    (found,) = await house.offers.taken(EMAIL, 5)
    assert found.notification == given
    assert await house.due.renew([found], MINUTE) == [found]


async def test_a_notice_that_comes_late_tells_of_nothing_twice(house):
    await offered(house)
    await stored(house)
    (token,) = house.offers._offers
    (found,) = await house.offers.withdraw(EMAIL)
    late = psycopg.Notify(house.offers.notices, f"{token} ids {found.notification}", 1)
    house.offers.hear([late])
    assert await house.offers.taken(EMAIL, 0.05) == []


async def test_what_somebody_else_was_given_is_not_ours(house):
    await offered(house)
    house.offers.hear([psycopg.Notify(house.offers.notices, f"{uuid4()} ids {uuid4()}", 1)])
    assert await house.offers.taken(EMAIL, 0.05) == []


async def test_what_was_stored_comes_along_and_is_read_once_without_asking(hearing, monkeypatch):
    await offered(hearing)
    (given,) = await stored(hearing)
    await hearing.offers.taken(EMAIL, 5)
    with monkeypatch.context() as patch:
        patch.setattr(hearing.database, "rows", _away)
        it = await hearing.events.get(Notification, given)
        with pytest.raises(StoreUnavailableError):
            await hearing.events.get(Notification, given)
    assert (it.letter.address, it.version) == ("ada@example.com", 1)
    assert await hearing.events.get(Notification, given) == it


async def _away(*_: object, **__: object) -> None:
    raise StoreUnavailableError


async def test_what_is_too_long_to_come_along_is_read(hearing):
    await offered(hearing)
    given = await stored(hearing, 120)
    leases = await hearing.offers.taken(EMAIL, 5)
    assert {lease.notification for lease in leases} == set(given)
    assert set(await hearing.events.get_many(Notification, given)) == set(given)


async def test_more_than_a_notice_can_name_is_leased_as_ever(house):
    await offered(house)
    await stored(house, 201)
    assert len(await house.due.lease(EMAIL, 1_000, 1_000, MINUTE)) == 201


async def test_an_append_does_not_wait_for_who_leases(house, conninfo):
    await offered(house)
    async with await psycopg.AsyncConnection.connect(conninfo) as leasing:
        await leasing.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (LEASE_LOCK, EMAIL))
        async with asyncio.timeout(5):
            given = await stored(house)
    assert [lease.notification for lease in await house.due.lease(EMAIL, 10, 10, MINUTE)] == given


async def test_who_withdraws_waits_for_the_append_that_may_still_take_it_up(house, conninfo):
    await offered(house)
    async with await psycopg.AsyncConnection.connect(conninfo) as other:
        await other.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        ((token,),) = await (await other.execute("SELECT new_token FROM take_up_offer('email', '{acme}')")).fetchall()
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
        answer = await slow.execute("SELECT lapses - now() FROM take_up_offer('email', '{acme}')")
        ((lasts,),) = await answer.fetchall()
    assert lasts >= MINUTE + timedelta(seconds=0.5)


async def test_offers_of_who_is_long_gone_are_swept(house):
    await offered(house)
    await house.database.rows("UPDATE offers SET stands_until = now() - interval '2 min'", binary=False)
    async with PostgresHouse(house.appending.conninfo) as other:
        await offered(other)
    assert await house.database.rows("SELECT count(*) FROM offers") == [(1,)]
