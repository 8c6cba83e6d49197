"""What is kept of the limits of a provider, by all processes together."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.allowance import Allowance
from adapters.memory.budget import MemoryProviderBudget
from adapters.postgres.budget import PostgresProviderBudget
from adapters.postgres.database import Database
from application.ports.due_work import ProviderBudget
from tests.contract.conftest import Passing
from tests.fakes.chance import SetClock

HOUR = timedelta(hours=1)
ALLOWANCES = {
    "slow": Allowance(per_second=20),
    "crawling": Allowance(per_second=2),
    "daily": Allowance(per_day=100),
    "both": Allowance(per_second=1_000, per_day=70),
    "closed": Allowance(per_day=0),
}


@pytest.fixture
def budget(storage: Database | None, time: Passing) -> ProviderBudget:
    if storage is None:
        return MemoryProviderBudget(time, ALLOWANCES)
    return PostgresProviderBudget(storage, ALLOWANCES)


async def test_without_limits_all_is_granted(budget):
    assert await budget.take("unlimited", 500) == 500
    assert await budget.take("unlimited", 500) == 500


async def test_a_tenth_of_a_second_s_worth_goes_at_once(budget):
    assert await budget.take("slow", 50) == 2
    assert await budget.take("crawling", 50) == 1


async def test_more_is_earned_as_time_passes(budget, time):
    begun, granted = time.now(), 0
    granted += await budget.take("slow", 50)

    async def enough() -> bool:
        nonlocal granted
        granted += await budget.take("slow", 50)
        return granted >= 7

    await time.until(enough)
    assert time.now() - begun >= timedelta(seconds=5 / 20)


async def test_nothing_is_saved_up_beyond_the_burst(budget, time):
    await budget.take("slow", 50)
    later = time.now() + timedelta(seconds=0.4)
    await time.until(lambda: reached(time, later))
    assert await budget.take("slow", 50) == 2


async def test_a_day_has_its_own_limit(budget):
    assert await budget.take("daily", 80) == 80
    assert await budget.take("daily", 80) == 20
    assert await budget.take("daily", 80) == 0
    assert await budget.take("closed", 1) == 0


async def test_both_limits_hold(budget):
    assert await budget.take("both", 1_000) == 70


async def test_what_was_not_sent_can_be_taken_again(budget):
    assert await budget.take("daily", 100) == 100
    await budget.give_back("daily", 30)
    assert await budget.take("daily", 100) == 30
    assert await budget.take("slow", 2) == 2
    await budget.give_back("slow", 2)
    assert await budget.take("slow", 2) == 2


async def test_to_give_back_earns_no_more_than_the_burst(budget):
    await budget.give_back("slow", 100)
    assert await budget.take("slow", 100) == 2


async def test_nothing_is_granted_while_paused(budget):
    await budget.pause("slow", HOUR, "throttled")
    assert await budget.take("slow", 1) == 0
    assert await budget.take("daily", 1) == 1
    assert await budget.paused() == {"slow": "throttled"}


async def test_a_pause_ends_by_itself(budget, time):
    await budget.pause("daily", timedelta(seconds=0.2), "throttled")
    begun = time.now()
    assert await time.until(lambda: budget.take("daily", 1)) == 1
    assert time.now() - begun >= timedelta(seconds=0.15)
    assert await budget.paused() == {}


async def test_a_shorter_pause_never_shortens_a_longer_one(budget):
    await budget.pause("daily", HOUR, "misconfigured")
    await budget.pause("daily", timedelta(seconds=0), "throttled")
    assert await budget.paused() == {"daily": "misconfigured"}
    await budget.pause("daily", 2 * HOUR, "throttled")
    assert await budget.paused() == {"daily": "throttled"}


async def test_many_who_take_at_once_get_no_more_than_there_is(budget):
    assert sum(await asyncio.gather(*[budget.take("daily", 7) for _ in range(30)])) == 100


async def test_each_day_begins_anew():
    clock = SetClock(datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC))
    budget = MemoryProviderBudget(clock, ALLOWANCES)
    assert await budget.take("daily", 1_000) == 100
    clock.move(timedelta(seconds=1))
    assert await budget.take("daily", 1_000) == 100


async def test_each_day_begins_anew_in_the_database(database):
    budget = PostgresProviderBudget(database, ALLOWANCES)
    assert await budget.take("daily", 1_000) == 100
    await database.rows("UPDATE provider_budgets SET day = day - 1")
    assert await budget.take("daily", 1_000) == 100


async def test_what_was_taken_holds_for_other_processes(database):
    assert await PostgresProviderBudget(database, ALLOWANCES).take("daily", 60) == 60
    assert await PostgresProviderBudget(database, ALLOWANCES).take("daily", 60) == 40


async def reached(time: Any, moment: datetime) -> bool:
    return time.now() >= moment
