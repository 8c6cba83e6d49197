"""Leasing what is due and telling the workers."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from application.ports import DeliveryQueue, DueWork, Lease, ProviderBudget, Wakeup
from domain.vocabulary import Channel

_LISTENING = 0.5
_FULL = 0.1
_REST, _LONGEST_REST = 2, 0.05
"""A turn is followed by a rest twice as long: under load every commit rings, and what gathers goes together."""


class DispatchRules(msgspec.Struct, frozen=True):
    """How one channel is dispatched: never more than `window` held at once, `batch` ids to a task.

    A turn that found nothing due is followed by a rest of at least `calm` seconds: every commit rings, whatever it is
    about, and a channel with little to do need not look each time.
    """

    provider: str
    lease: timedelta
    window: int = 40
    batch: int = 20
    calm: float = 0.0


class Dispatcher:
    """One loop per channel. It leases no more than the workers can take now and the provider may be asked now."""

    def __init__(
        self,
        due: DueWork,
        queue: DeliveryQueue,
        budget: ProviderBudget,
        rules: Mapping[Channel, DispatchRules],
    ) -> None:
        self._due = due
        self._queue = queue
        self._budget = budget
        self._rules = rules

    async def run(self, channel: Channel, wakeup: Wakeup) -> None:
        """Until cancelled."""
        time = asyncio.get_running_loop().time
        while True:
            began = time()
            wait = await self.turn(channel)
            rest = min(_LONGEST_REST, _REST * (time() - began))
            await asyncio.sleep(max(rest, min(wait, self._rules[channel].calm)))
            await wakeup.wait(wait)

    async def turn(self, channel: Channel) -> float:
        """Dispatch what can be dispatched now; answers the seconds to wait unless woken."""
        rules = self._rules[channel]
        wait = await self._due.next_due(channel)
        if wait is None or wait > timedelta(0):
            return _LISTENING if wait is None else min(_LISTENING, wait.total_seconds())
        granted = await self._budget.take(rules.provider, rules.window)
        if not granted:
            await asyncio.sleep(_FULL)
            return 0.0
        leases = await self._due.lease(channel, granted, rules.window, rules.lease)
        lots = [leases[start : start + rules.batch] for start in range(0, len(leases), rules.batch)]
        told = [await self._tell(channel, rules, lot) for lot in lots]
        if len(leases) < granted:  # at the end: what is leased and not told of would wait until its lease has lapsed
            await self._budget.give_back(rules.provider, granted - len(leases))
        return 0.0 if any(told) else _FULL

    async def _tell(self, channel: Channel, rules: DispatchRules, leases: Sequence[Lease]) -> bool:
        """Tell the workers; what they cannot be told of is given back, with the budget it took."""
        if await self._queue.put(channel, leases):
            return True
        await self._due.release(leases)
        await self._budget.give_back(rules.provider, len(leases))
        return False
