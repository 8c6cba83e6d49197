"""A reader leaves while a mail to them is being delivered, at every moment of it. In memory."""

import asyncio

from adapters.memory.budget import MemoryProviderBudget
from domain.notification import Notification
from domain.vocabulary import Channel, Status
from tests.deliveries import MINUTE, House


async def test_of_a_thousand_races_with_an_opt_out_none_is_sent_after_it():
    """Whichever comes first in the log decides."""
    house = House()
    house.budget = MemoryProviderBudget(house.clock, {})
    delivery, ends = house.delivery(), []
    for race in range(1_000):
        it = await house.accept(address := f"reader-{race}@example.com")
        leases = await house.due.lease(Channel.EMAIL, 10, 10, MINUTE)
        delivering = asyncio.create_task(delivery.deliver(Channel.EMAIL, leases))
        for _ in range(race % 12):
            await asyncio.sleep(0)
        left = await house.leave(address=address)
        await delivering
        history = await house.events.history(it.id)
        intents = [recorded.position for recorded in history if isinstance(recorded.event, Notification.Rendered)]
        assert all(position < left for position in intents)
        ends.append((await house.now(it)).status)
    assert {*ends} == {Status.SENT, Status.SUPPRESSED}
