"""What a follower of the log is woken by."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import psycopg
import pytest

from adapters.bell import Bell
from adapters.memory.wakeup import MemoryWakeups
from adapters.postgres.wakeup import WORK, PostgresWakeups
from domain.outcomes import Accepted
from domain.vocabulary import Channel
from tests.contract.conftest import MemoryHouse, PostgresHouse
from tests.examples import NOON, POLICY, attempted, notification, subscription


@pytest.fixture
async def wakeups(
    house: MemoryHouse | PostgresHouse, server: str | None
) -> AsyncIterator[MemoryWakeups | PostgresWakeups]:
    if server is None:
        yield house.wakeups
        return
    async with listening(server) as wakeups:
        yield wakeups


@asynccontextmanager
async def listening(conninfo: str) -> AsyncIterator[PostgresWakeups]:
    wakeups = PostgresWakeups(conninfo)
    first = wakeups.bell()
    await first.wait(5)
    try:
        yield wakeups
    finally:
        await wakeups.close()


async def append(house: MemoryHouse | PostgresHouse) -> None:
    person = house.events.person("acme", "ada@example.com")
    await house.events.save(notification(uuid4(), person=person))


async def waited(bell: Bell, timeout: float) -> float:
    begun = asyncio.get_running_loop().time()
    await bell.wait(timeout)
    return asyncio.get_running_loop().time() - begun


async def test_a_save_wakes_who_waits(house, wakeups):
    bell = wakeups.bell()
    waiting = asyncio.create_task(waited(bell, 5))
    await asyncio.sleep(0)
    await append(house)
    assert await waiting < 2


async def test_a_save_before_the_wait_is_not_missed(house, wakeups):
    bell, other = wakeups.bell(), wakeups.bell()
    await append(house)
    await other.wait(5)
    assert await waited(bell, 5) < 2


async def test_it_wakes_everybody(house, wakeups):
    waiting = [asyncio.create_task(waited(wakeups.bell(), 5)) for _ in range(3)]
    await asyncio.sleep(0)
    await append(house)
    assert max(await asyncio.gather(*waiting)) < 2


async def test_with_nothing_new_it_waits_for_as_long_as_it_was_told(wakeups):
    assert 0.05 <= await waited(wakeups.bell(), 0.05) < 1


async def test_it_rings_once_for_what_has_been_heard(house, wakeups):
    bell = wakeups.bell()
    await append(house)
    await bell.wait(5)
    assert await waited(bell, 0.05) >= 0.05


async def test_nobody_listens_before_there_is_a_bell_to_ring(conninfo):
    wakeups = PostgresWakeups(conninfo)
    with psycopg.connect(conninfo, autocommit=True) as other:
        assert _listeners(other) == 0
        await wakeups.bell().wait(5)
        assert _listeners(other) == 1
    await wakeups.close()


def _listeners(connection: psycopg.Connection) -> int:
    return connection.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'").fetchone()[0]


async def test_a_lost_connection_counts_as_a_wake_up_and_is_made_again(conninfo):
    async with PostgresHouse(conninfo) as house, listening(conninfo) as wakeups:
        bell = wakeups.bell()
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        assert await waited(bell, 5) < 2
        await bell.wait(0.5)
        await append(house)
        assert await waited(bell, 5) < 2


@pytest.fixture
async def work(conninfo: str) -> AsyncIterator[PostgresWakeups]:
    wakeups = PostgresWakeups(conninfo, WORK)
    await wakeups.bell().wait(5)
    yield wakeups
    await wakeups.close()


async def test_what_is_due_wakes_the_dispatchers_of_its_channel(conninfo, work):
    mail, hooks = work.bell(Channel.EMAIL), work.bell(Channel.WEBHOOK)
    async with PostgresHouse(conninfo) as house:
        await append(house)
    assert await waited(mail, 5) < 2
    assert await waited(hooks, 0.05) >= 0.05


async def test_what_leaves_nothing_to_dispatch_wakes_no_dispatcher(conninfo, work):
    mail = work.bell(Channel.EMAIL)
    async with PostgresHouse(conninfo) as house:
        person = house.events.person("acme", "ada@example.com")
        await house.events.save(sending := notification(uuid4(), person=person))
        await mail.wait(5)
        await house.events.save(attempted(sending))
        sending.record(Accepted(None), POLICY, luck=0, now=NOON, by="worker")
        await house.events.save(sending)
        assert await waited(mail, 0.05) >= 0.05


async def test_a_lane_that_may_have_room_again_wakes_its_dispatcher(conninfo, work):
    hooks = work.bell(Channel.WEBHOOK)
    async with PostgresHouse(conninfo) as house:
        await house.events.save(
            endpoint := subscription(uuid4(), person=house.events.person("acme", "x"), concurrency=4)
        )
        assert await waited(hooks, 5) < 2
        person = house.events.person("acme", "ada@example.com")
        wishes = {"person": person, "channel": Channel.WEBHOOK, "subscription": endpoint.id}
        await house.events.save(sending := notification(uuid4(), **wishes))
        await hooks.wait(5)
        await house.events.save(attempted(sending))
        sending.record(Accepted(None), POLICY, luck=0, now=NOON, by="worker")
        await house.events.save(sending)
        assert await waited(hooks, 5) < 2
        await house.due.open_lane(Channel.WEBHOOK, str(endpoint.id))
        assert await waited(hooks, 5) < 2
