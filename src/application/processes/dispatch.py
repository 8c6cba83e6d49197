"""Leasing what is due and telling the workers."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

import msgspec

from application.ports.due_work import DeliveryQueue, DueWork, Lease, ProviderBudget
from application.ports.log import Wakeup
from domain.vocabulary import Channel

_LISTENING = 0.5
_FULL = 0.1
"""Seconds: without a wake-up, and while the window is full or the budget spent."""

_REST, _LONGEST_REST = 2, 0.05
"""A turn is followed by a rest twice as long: what gathers goes together."""


class DispatchRules(msgspec.Struct, frozen=True):
    """How one channel is dispatched: never more than `window` held at once, `batch` ids to a task."""

    provider: str
    lease: timedelta
    window: int = 40
    batch: int = 20


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
        self._stopping = False

    @property
    def channels(self) -> Collection[Channel]:
        return self._rules.keys()

    def stop(self) -> None:
        """Lease nothing more: each `run` returns once the turn that it is in has told of what it leased."""
        self._stopping = True

    async def run(self, channel: Channel, wakeup: Wakeup) -> None:
        """Until stopped or cancelled. A turn that is cancelled may leave leases of which nobody knows."""
        time = asyncio.get_running_loop().time
        while not self._stopping:
            began = time()
            wait = await self.turn(channel)
            await asyncio.sleep(min(_LONGEST_REST, _REST * (time() - began)))
            await wakeup.wait(wait)

    async def turn(self, channel: Channel) -> float:
        """Dispatch what can be dispatched now; answers the seconds to wait unless woken."""
        rules = self._rules[channel]
        turn = await self._due.lease_in_budget(channel, rules.provider, rules.window, rules.lease)
        lots = [turn.leases[start : start + rules.batch] for start in range(0, len(turn.leases), rules.batch)]
        told = [await self._tell(channel, rules, lot) for lot in lots]
        if turn.wait is not None and turn.wait <= timedelta(0):
            return 0.0 if any(told) else _FULL
        return _LISTENING if turn.wait is None else min(_LISTENING, turn.wait.total_seconds())

    async def _tell(self, channel: Channel, rules: DispatchRules, leases: Sequence[Lease]) -> bool:
        """Tell the workers; what they cannot be told of is given back, with the budget it took."""
        if await self._queue.put(channel, leases):
            return True
        await self._due.release(leases)
        await self._budget.give_back(rules.provider, len(leases))
        return False
