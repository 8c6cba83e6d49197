"""Offers to take what is due at once, as one process makes them to a schedule in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec

from adapters.lease_tray import LeaseTray
from adapters.memory.due_work import MemoryDueWork
from application.ports.due_work import Lease, ProviderBudget
from application.ports.time_and_chance import Clock
from domain.vocabulary import Channel

_STANDS_FOR = timedelta(seconds=3)


class _Offer(msgspec.Struct):
    provider: str
    places: int
    duration: timedelta
    until: datetime


class MemoryOffers:
    """Implements the port Offers. Nothing is ever lost on its way here."""

    def __init__(self, due: MemoryDueWork, budget: ProviderBudget, clock: Clock) -> None:
        self._due = due
        self._budget = budget
        self._clock = clock
        self._offers: dict[Channel, _Offer] = {}
        self._tray = LeaseTray()
        due.offer_to(self)

    async def make(self, channel: Channel, provider: str, window: int, duration: timedelta) -> None:
        await self._end(channel)
        wanted = min(window // 4, window // 2 - self._due.held(channel))
        if wanted <= 0:
            return
        granted = await self._budget.take(provider, wanted)
        if granted < wanted:
            await self._budget.give_back(provider, granted)
        else:
            self._offers[channel] = _Offer(provider, wanted, duration, self._clock.now() + _STANDS_FOR)

    async def withdraw(self, channel: Channel) -> list[Lease]:
        await self._end(channel)
        return self._tray.take(channel)

    async def taken(self, channel: Channel, timeout: float) -> list[Lease]:
        return await self._tray.wait_and_take(channel, timeout)

    def places(self, channel: str) -> int:
        """How many more may be taken up."""
        offer = self._offers.get(Channel(channel))
        return offer.places if offer and offer.until > self._clock.now() else 0

    async def take_up(self, channel: Channel, ids: Sequence[UUID]) -> bool:
        """Whether these are leased from now on."""
        if len(ids) > self.places(channel) or self._due.any_has_terms(ids):
            return False
        offer, token = self._offers[channel], uuid4()
        if offer.provider in await self._budget.paused():
            return False
        offer.places -= len(ids)
        self._due.assign(ids, token, offer.duration)
        self._tray.put(channel, [Lease(id, token, channel) for id in ids])
        return True

    async def _end(self, channel: Channel) -> None:
        if offer := self._offers.pop(channel, None):
            await self._budget.give_back(offer.provider, offer.places)
