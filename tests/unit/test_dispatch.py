"""What the dispatcher leases, and what it does when nobody hears of it. In memory."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import pytest

from adapters.allowance import Allowance
from adapters.event_mapper import EventMapper
from adapters.memory.budget import MemoryProviderBudget
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.offers import MemoryOffers
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from application.ports.due_work import Lease
from application.processes.dispatch import Dispatcher, DispatchRules
from domain.personal import Letter
from domain.vocabulary import Channel
from tests.examples import notification
from tests.fakes.chance import SetClock

MINUTE = timedelta(minutes=1)


class Queue:
    """Takes what it is told, or nothing while it is deaf."""

    def __init__(self) -> None:
        self.told: list[Lease] = []
        self.lots: list[int] = []
        self.rung = asyncio.Event()
        self.deaf = False

    async def put(self, channel: Channel, leases: Sequence[Lease]) -> bool:
        if self.deaf:
            return False
        self.told += leases
        self.lots.append(len(leases))
        self.rung.set()
        return True


class House:
    def __init__(self, *, offers: bool = False, window: int = 10, **allowed: float) -> None:
        self.clock = SetClock()
        self.budget = MemoryProviderBudget(self.clock, {"resend": Allowance(**allowed)})  # type: ignore[arg-type]
        self.due = MemoryDueWork(self.clock, self.budget)
        keys = PersonKeys(bytes(32))
        self.events = MemoryEventStore(self.due, MemoryWakeups(), EventMapper(keys), keys)
        self.queue, self.offers = Queue(), MemoryOffers(self.due, self.budget, self.clock)
        rules = DispatchRules(provider="resend", lease=MINUTE, window=window, batch=4, offers=offers)
        self.dispatcher = Dispatcher(self.due, self.offers, self.queue, self.budget, {Channel.EMAIL: rules})

    async def accept(self, count: int, later: timedelta = timedelta(0), tenant: str = "acme") -> None:
        now = self.clock.now()
        letter = Letter(person=self.events.person("acme", "jane@example.com"), address="jane@example.com")
        wishes = {"letter": letter, "now": now, "scheduled_at": now + later, "tenant": tenant}
        await self.events.save(*(notification(uuid4(), **wishes) for _ in range(count)))

    async def turn(self) -> float:
        return await self.dispatcher.turn(Channel.EMAIL)


async def test_what_is_due_is_told_in_lots_and_no_more_than_the_window_holds():
    house = House()
    for tenant in ("acme", "north"):
        await house.accept(8, tenant=tenant)
    assert await house.turn() == 0
    assert house.queue.lots == [4, 4, 2]
    assert await house.turn() > 0
    assert len(house.queue.told) == 10


async def test_what_is_due_later_is_waited_for():
    house = House()
    await house.accept(1, later=timedelta(milliseconds=200))
    assert await house.turn() == pytest.approx(0.2)
    house.clock.move(timedelta(milliseconds=200))
    await house.turn()
    assert len(house.queue.told) == 1


async def test_over_its_budget_mail_waits_and_goes_as_the_budget_comes_back():
    house = House(per_second=2)
    await house.accept(5)
    for told in (1, 1, 2):
        await house.turn()
        assert len(house.queue.told) == told
        if told == 1:
            house.clock.move(timedelta(milliseconds=250))


async def test_a_day_takes_no_more_than_its_budget_and_the_next_day_goes_on():
    house = House(per_day=3)
    await house.accept(5)
    await house.turn()
    await house.turn()
    assert len(house.queue.told) == 3
    house.clock.move(timedelta(days=1))
    await house.turn()
    assert len(house.queue.told) >= 5


async def test_what_nobody_could_be_told_of_costs_no_budget_and_is_told_again():
    house = House(per_day=5)
    await house.accept(5)
    house.queue.deaf = True
    for _ in range(3):
        assert await house.turn() > 0
    house.queue.deaf = False
    await house.turn()
    assert len(house.queue.told) == 5


async def test_after_everything_was_told_it_waits_to_be_woken():
    """Another turn that finds nothing would cost as much as one that does."""
    house = House()
    await house.accept(2)
    assert await house.turn() > 0
    assert len(house.queue.told) == 2


async def test_a_paused_provider_is_sent_nothing():
    house = House()
    await house.accept(2)
    await house.budget.pause("resend", MINUTE, "throttled")
    await house.turn()
    assert house.queue.told == []
    house.clock.move(MINUTE)
    await house.turn()
    assert len(house.queue.told) == 2


async def test_who_is_stopped_in_a_turn_tells_of_what_it_leased_and_takes_no_more():
    house, took, go_on = House(), asyncio.Event(), asyncio.Event()
    await house.accept(2)
    lease = house.due.lease_in_budget

    async def slowly(*given):
        turn = await lease(*given)
        took.set()
        await go_on.wait()
        return turn

    house.due.lease_in_budget = slowly  # type: ignore[method-assign]
    running = asyncio.create_task(house.dispatcher.run(Channel.EMAIL, MemoryWakeups().bell()))
    await took.wait()
    house.dispatcher.stop()
    await house.accept(3)
    go_on.set()
    async with asyncio.timeout(10):
        await running
    assert len(house.queue.told) == 2


async def test_what_is_leased_as_it_is_stored_is_passed_on_without_a_turn():
    house = House(offers=True, window=20)
    await house.turn()
    passing_on = asyncio.create_task(house.dispatcher.pass_on(Channel.EMAIL))
    await house.accept(5)
    async with asyncio.timeout(5):
        await house.queue.rung.wait()
    house.dispatcher.stop()
    async with asyncio.timeout(5):
        await passing_on
    assert house.queue.lots == [4, 1]


async def test_nothing_is_offered_where_the_rules_do_not_say_so():
    house = House()
    assert house.dispatcher.offering == []
    await house.turn()
    await house.accept(1)
    assert await house.offers.taken(Channel.EMAIL, 0.01) == []
    await house.turn()
    assert len(house.queue.told) == 1


async def test_while_something_waits_that_could_be_leased_nothing_is_taken_as_it_is_stored():
    """It would wait for ever behind what comes after it."""
    house = House(offers=True, window=20)
    await house.turn()
    await house.accept(12)
    await house.turn()
    assert len(house.queue.told) == 5, "what one tenant may have of the window beside what is offered"
    await house.accept(1, tenant="north")
    assert await house.offers.taken(Channel.EMAIL, 0.01) == []
    await house.turn()
    assert len(house.queue.told) == 11


async def test_while_nobody_can_be_told_of_anything_nothing_is_taken_as_it_is_stored():
    house = House(offers=True, window=20)
    await house.turn()
    await house.accept(12)
    house.queue.deaf = True
    await house.turn()
    await house.accept(1)
    assert await house.offers.taken(Channel.EMAIL, 0.01) == []


async def test_what_was_taken_before_it_was_withdrawn_is_told_of_all_the_same():
    house = House(offers=True, window=20)
    await house.turn()
    await house.accept(2)
    await house.accept(12)
    await house.turn()
    assert len(house.queue.told) == 2 + 5


async def test_who_leaves_gives_back_what_came_too_late_to_be_told_of():
    house = House(offers=True, window=20, per_day=5)
    await house.turn()
    await house.accept(3)
    house.dispatcher.stop()
    await house.dispatcher.leave()
    await house.accept(1)
    assert house.queue.told == []
    turn = await house.due.lease_in_budget(Channel.EMAIL, "resend", 10, MINUTE)
    assert len(turn.leases) == 4
