"""The schedule written anew while workers go on working."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import uuid4

import pytest

from adapters.postgres.schedule import PostgresSchedule
from application.ports.log import StoreUnavailableError
from application.processes.reschedule import reschedule
from domain.notification import Notification
from domain.vocabulary import Channel, Reason
from tests.contract.conftest import PostgresHouse
from tests.examples import attempted, notification, subscription

MINUTE = timedelta(minutes=1)
EMAIL = Channel.EMAIL


@pytest.fixture
async def house(conninfo: str) -> AsyncIterator[PostgresHouse]:
    async with PostgresHouse(conninfo) as house:
        yield house


async def accepted(house: PostgresHouse) -> Notification:
    person = house.events.person("acme", "ada@example.com")
    it = notification(uuid4(), person=person, now=datetime.now(UTC))
    await house.events.save(it)
    return it


async def rewritten(house: PostgresHouse) -> int:
    schedule = PostgresSchedule(house.database)
    return await reschedule(house.events, house.events, schedule, MINUTE, lambda done, total: None)


async def test_what_is_leased_stays_its_holders(house):
    await accepted(house)
    leases = await house.due.lease(EMAIL, 10, 10, MINUTE)
    assert await rewritten(house) == 1
    assert await house.due.lease(EMAIL, 10, 10, MINUTE) == []
    assert await house.due.renew(leases, MINUTE) == leases


async def test_what_was_leased_by_a_call_whose_answer_was_lost_is_leased_again_at_once(house, monkeypatch):
    it = await accepted(house)
    rows = house.database.rows

    async def unheard(query, values=(), **how):
        await rows(query, values, **how)
        raise StoreUnavailableError

    await house.budget.terms("daily")
    with monkeypatch.context() as patch:
        patch.setattr(house.database, "rows", unheard)
        with pytest.raises(StoreUnavailableError):
            await house.due.lease_in_budget(EMAIL, "daily", 10, MINUTE)
    assert await house.due.lease(EMAIL, 10, 10, MINUTE) == []
    turn = await house.due.lease_in_budget(EMAIL, "daily", 10, MINUTE)
    assert [lease.notification for lease in turn.leases] == [it.id]


async def test_a_lease_knows_since_when_it_may_be_held(house):
    """So that who took it need not ask for it again."""
    for _ in range(2):
        await accepted(house)
    before = monotonic()
    leases = await house.due.lease(EMAIL, 1, 10, MINUTE)
    leases += (await house.due.lease_in_budget(EMAIL, "daily", 10, MINUTE)).leases
    assert len(leases) == 2
    assert all(before <= lease.since <= monotonic() for lease in leases)


async def test_what_waits_is_due_as_before(house):
    it = await accepted(house)
    await house.due.release(await house.due.lease(EMAIL, 10, 10, MINUTE))
    assert await rewritten(house) == 1
    assert [lease.notification for lease in await house.due.lease(EMAIL, 10, 10, MINUTE)] == [it.id]


async def test_a_call_on_its_way_is_left_to_who_makes_it(house):
    it = await accepted(house)
    leases = await house.due.lease(EMAIL, 10, 10, MINUTE)
    await house.events.save(attempted(it, datetime.now(UTC)))
    await rewritten(house)
    assert await house.due.lease(EMAIL, 10, 10, MINUTE) == []
    assert await house.due.renew(leases, MINUTE) == leases


async def test_where_the_rows_were_lost_every_lease_that_may_still_be_held_lapses_first(house):
    await accepted(house)
    await house.due.lease(EMAIL, 10, 10, MINUTE)
    await house.database.rows("DROP TABLE schedule")
    assert await rewritten(house) == 1
    assert await house.due.lease(EMAIL, 10, 10, MINUTE) == []
    assert MINUTE / 2 < await house.due.next_due(EMAIL) <= MINUTE


async def test_lanes_are_those_of_the_subscriptions_again(house):
    person = house.events.person("acme", "webhook:1")
    held, narrow = (subscription(uuid4(), person=person, now=datetime.now(UTC), concurrency=1) for _ in range(2))
    held.pause(now=datetime.now(UTC), by="key:k1")
    await house.events.save(held, narrow)
    for each in (held, narrow):
        wishes = {"channel": Channel.WEBHOOK, "subscription": each.id, "template": None, "now": datetime.now(UTC)}
        await house.events.save(*(notification(uuid4(), person=person, **wishes) for _ in range(3)))
    await house.database.rows("DROP TABLE lanes")
    assert await rewritten(house) == 6
    leases = await house.due.lease(Channel.WEBHOOK, 10, 10, MINUTE)
    assert len(leases) == 1
    found = await house.events.get(Notification, leases[0].notification)
    assert found.subscription == narrow.id


async def test_what_waits_for_a_digest_waits_for_it_again(house):
    it, bundle, now = await accepted(house), uuid4(), datetime.now(UTC)
    it.wait(Reason.DIGEST, now + MINUTE, now=now, by="key:k1", bundle=bundle)
    await house.events.save(it)
    await house.database.rows("DROP TABLE schedule")
    assert await rewritten(house) == 1
    assert await house.due.bundled(bundle, 10) == [it.id]
