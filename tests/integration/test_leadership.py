"""Being the only one in a role, and no longer being it."""

import asyncio

import psycopg
import pytest

from adapters.postgres import leadership
from adapters.postgres.leadership import LeadershipLostError, leading


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody waits for long."""
    monkeypatch.setattr(leadership, "_ASK_EVERY", 0.01)


async def leader(conninfo: str) -> tuple["asyncio.Task[None]", asyncio.Event]:
    """A task that leads until it is told to stop, and whether it leads."""
    leads = asyncio.Event()

    async def lead() -> None:
        async with leading(conninfo, "test"):
            leads.set()
            await asyncio.Event().wait()

    return asyncio.create_task(lead()), leads


async def disconnect_leaders(conninfo: str) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'carillon test'"
        )


async def ended(task: "asyncio.Task[None]") -> BaseException | None:
    (end,) = await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 10)
    return end


async def test_one_leads_and_the_next_takes_over_when_it_stops(conninfo: str) -> None:
    first, first_leads = await leader(conninfo)
    await asyncio.wait_for(first_leads.wait(), 10)
    second, second_leads = await leader(conninfo)
    await asyncio.sleep(0.1)
    assert not second_leads.is_set()
    first.cancel()
    assert isinstance(await ended(first), asyncio.CancelledError)
    await asyncio.wait_for(second_leads.wait(), 10)
    second.cancel()
    assert isinstance(await ended(second), asyncio.CancelledError)


async def test_who_loses_the_connection_stops_leading_and_says_so(conninfo: str) -> None:
    task, leads = await leader(conninfo)
    await asyncio.wait_for(leads.wait(), 10)
    await disconnect_leaders(conninfo)
    assert isinstance(await ended(task), LeadershipLostError)


async def test_who_is_told_to_stop_as_it_loses_its_place_stops(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ask by cancelling, and the task hears of it once: taken for a loss, it would begin to lead again."""

    async def watch(_: object, leader: "asyncio.Task[None]", lost: leadership._Loss) -> None:
        lost.cancellations += 1
        leader.cancel()
        leader.cancel()  # somebody else, in the same moment

    monkeypatch.setattr(leadership, "_watch", watch)
    task, _ = await leader(conninfo)
    assert isinstance(await ended(task), asyncio.CancelledError)


async def test_a_loss_that_the_leader_does_not_hear_of_is_told_again(conninfo: str) -> None:
    leads, deaf = asyncio.Event(), asyncio.Event()

    async def lead() -> None:
        async with leading(conninfo, "test"):
            leads.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                deaf.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(lead())
    await asyncio.wait_for(leads.wait(), 10)
    await disconnect_leaders(conninfo)
    assert isinstance(await ended(task), LeadershipLostError)
    assert deaf.is_set()
