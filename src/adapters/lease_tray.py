"""Where leases lie that nobody asked for, until somebody takes them."""

from collections.abc import Iterable

from adapters.bell import Bell
from application.ports.due_work import Lease
from domain.vocabulary import Channel


class LeaseTray:
    """One pile for each channel, each with a bell."""

    def __init__(self) -> None:
        self._piles: dict[Channel, list[Lease]] = {}
        self._bells: dict[Channel, Bell] = {}

    def put(self, channel: Channel, leases: Iterable[Lease]) -> None:
        self._piles.setdefault(channel, []).extend(leases)
        self._bell(channel).ring()

    def take(self, channel: Channel) -> list[Lease]:
        """Whatever lies there."""
        return self._piles.pop(channel, [])

    async def wait_and_take(self, channel: Channel, timeout: float) -> list[Lease]:
        """As soon as there is something, or nothing after `timeout` seconds."""
        if not self._piles.get(channel):
            await self._bell(channel).wait(timeout)
        return self.take(channel)

    def _bell(self, channel: Channel) -> Bell:
        return self._bells.setdefault(channel, Bell())
