"""Offers to take what is due at once, as one process makes them to a schedule in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec

from adapters.bell import Bell
from adapters.memory.due_work import MemoryDueWork
from application.ports.due_work import Lease, ProviderBudget
from application.ports.time_and_chance import Clock
from domain.vocabulary import Channel

_STANDS_FOR = timedelta(seconds=3)


class _Offer(msgspec.Struct, frozen=True):
    provider: str
    window: int
    duration: timedelta
    until: datetime


class MemoryOffers:
    """Implements the port Offers. Nothing is ever lost on its way here."""

    def __init__(self, due: MemoryDueWork, budget: ProviderBudget, clock: Clock) -> None:
        self._due = due
        self._budget = budget
        self._clock = clock
        self._offers: dict[Channel, _Offer] = {}
        self._waiting: dict[Channel, list[Lease]] = {}
        self._bells: dict[Channel, Bell] = {}
        due.offer_to(self._take_up)

    async def make(self, channel: Channel, provider: str, window: int, duration: timedelta) -> None:
        self._offers[channel] = _Offer(provider, window, duration, self._clock.now() + _STANDS_FOR)

    async def withdraw(self, channel: Channel) -> list[Lease]:
        self._offers.pop(channel, None)
        return self._take(channel)

    async def taken(self, channel: Channel, timeout: float) -> list[Lease]:
        if not self._waiting.get(channel):
            await self._bell(channel).wait(timeout)
        return self._take(channel)

    async def _take_up(self, channel: Channel, ids: Sequence[UUID]) -> bool:
        offer, token = self._offers.get(channel), uuid4()
        if offer is None or offer.until <= self._clock.now() or not self._due.fits(channel, ids, offer.window):
            return False
        granted = await self._budget.take(offer.provider, len(ids))
        if granted < len(ids):
            await self._budget.give_back(offer.provider, granted)
            return False
        self._due.assign(ids, token, offer.duration)
        self._waiting.setdefault(channel, []).extend(Lease(id, token, channel) for id in ids)
        self._bell(channel).ring()
        return True

    def _take(self, channel: Channel) -> list[Lease]:
        return self._waiting.pop(channel, [])

    def _bell(self, channel: Channel) -> Bell:
        return self._bells.setdefault(channel, Bell())
