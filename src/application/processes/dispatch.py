"""Leasing what is due and telling the workers."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from math import inf

import msgspec

from application.ports.due_work import DeliveryQueue, DueWork, Lease, Offers, ProviderBudget
from application.ports.log import Wakeup
from domain.vocabulary import Channel

_LISTENING = 0.5
_FULL = 0.1
"""Seconds: without a wake-up, and while the window is full or the budget spent."""

_OFFER_AGAIN, _OFFER_MORE = 1.0, 0.1
"""Seconds after the last offer; after one that was withdrawn, too, and after one that did not get all that came."""

_REST, _LONGEST_REST = 2, 0.05
"""A turn is followed by a rest twice as long: what gathers goes together."""


class DispatchRules(msgspec.Struct, frozen=True):
    """How one channel is dispatched: never more than `window` held at once, `batch` ids to a task.

    With `offers`, what is due at once may be leased as it is stored, while nothing else waits.
    """

    provider: str
    lease: timedelta
    window: int = 40
    batch: int = 20
    offers: bool = False


class Dispatcher:
    """One loop per channel. It leases no more than the workers can take now and the provider may be asked now.

    Where it offers to take what is due at once, a second loop passes on what was leased like that. It does not while
    anything waits that could be leased, for that would wait for ever behind what comes after it.
    """

    def __init__(
        self,
        due: DueWork,
        offers: Offers,
        queue: DeliveryQueue,
        budget: ProviderBudget,
        rules: Mapping[Channel, DispatchRules],
    ) -> None:
        self._due = due
        self._offers = offers
        self._queue = queue
        self._budget = budget
        self._rules = rules
        self._offered: set[Channel] = set()
        self._offered_at: dict[Channel, float] = {}
        self._stopping = False

    @property
    def channels(self) -> Collection[Channel]:
        return self._rules.keys()

    @property
    def offering(self) -> Collection[Channel]:
        """Those of which `pass_on` may hear something."""
        return [channel for channel, rules in self._rules.items() if rules.offers]

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
        told = await self._tell_all(channel, turn.leases)
        more_waits = turn.wait is not None and turn.wait <= timedelta(0)
        if more_waits or not all(told):
            told += await self._tell_all(channel, await self._withdraw(channel))
        else:
            await self._offer(channel, more=bool(told))
        if more_waits:
            return 0.0 if any(told) else _FULL
        return _LISTENING if turn.wait is None else min(_LISTENING, turn.wait.total_seconds())

    async def pass_on(self, channel: Channel) -> None:
        """Tell of what was leased as it was stored, until stopped."""
        while not self._stopping:
            await self._tell_all(channel, await self._offers.taken(channel, _LISTENING))

    async def leave(self) -> None:
        """Once stopped: take nothing more, and give back what came too late to be told of.

        To be done again once the turn has ended that was under way, for that may have offered.
        """
        for channel in list(self._offered):
            if leases := await self._withdraw(channel):
                await self._give_back(self._rules[channel], leases)

    async def _offer(self, channel: Channel, *, more: bool) -> None:
        rules, now = self._rules[channel], asyncio.get_running_loop().time()
        pause = _OFFER_MORE if more and channel in self._offered else _OFFER_AGAIN
        if rules.offers and not self._stopping and now - self._offered_at.get(channel, -inf) >= pause:
            self._offered.add(channel)
            self._offered_at[channel] = now
            await self._offers.make(channel, rules.provider, rules.window, rules.lease)

    async def _withdraw(self, channel: Channel) -> list[Lease]:
        if channel not in self._offered:
            return []
        self._offered_at[channel] = asyncio.get_running_loop().time()
        leases = await self._offers.withdraw(channel)
        self._offered.discard(channel)
        return leases

    async def _tell_all(self, channel: Channel, leases: Sequence[Lease]) -> list[bool]:
        rules = self._rules[channel]
        lots = [leases[start : start + rules.batch] for start in range(0, len(leases), rules.batch)]
        return [await self._tell(channel, rules, lot) for lot in lots]

    async def _tell(self, channel: Channel, rules: DispatchRules, leases: Sequence[Lease]) -> bool:
        """Tell the workers; what they cannot be told of is given back, with the budget it took."""
        if await self._queue.put(channel, leases):
            return True
        await self._give_back(rules, leases)
        return False

    async def _give_back(self, rules: DispatchRules, leases: Sequence[Lease]) -> None:
        await self._due.release(leases)
        await self._budget.give_back(rules.provider, len(leases))
