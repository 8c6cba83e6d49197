"""Work that is due: what it is, who does it, and how much of it may be done."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from math import inf
from typing import Protocol
from uuid import UUID

import msgspec

from domain.vocabulary import Channel


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """The right to work on one notification, for as long as was asked for.

    `since` is the moment, by this process's monotonic clock in seconds, before which it cannot have been taken; minus
    infinity where nobody here knows, as of one that another process took.
    """

    notification: UUID
    token: UUID
    channel: Channel
    since: float = -inf


Deliver = Callable[[Channel, Sequence[Lease]], Awaitable[None]]
"""What a worker does with a lot that it is told of."""


class Backlog(msgspec.Struct, frozen=True):
    """What waits on one channel: `due` now, `later`, `held` under a lease; `oldest` is the wait of the oldest due.

    What is due in a lane that is held counts as `later`: nobody is behind with it.
    `unreadable` of them were set aside, and what is due of those has not changed since.
    """

    channel: str
    due: int
    later: int
    held: int
    oldest: timedelta
    unreadable: int = 0


class Turn(msgspec.Struct, frozen=True):
    """What a dispatcher got, and how long until there is more that may be leased; zero or less: now; None: nothing."""

    leases: list[Lease]
    wait: timedelta | None


class DueWork(Protocol):
    """What follows from the log to be done, and who does it. Times are of the store's own clock."""

    async def lease(self, channel: Channel, limit: int, window: int, duration: timedelta) -> list[Lease]:
        """Take up to `limit` notifications that are due, so that no more than `window` are held on this channel.

        What stands offered counts as held, in each lane.

        Urgent ones first, aged so that none starves, lanes in turn. Nobody else gets them until `duration` is over.

        A lane (a tenant, or one endpoint of theirs) never holds more than half of the window, however slow it is. One
        that has terms of its own holds no more than they allow at a time and gets no more than they allow per second,
        give or take a tenth of a second's worth; nothing while it is held or closed. While no call of it has succeeded
        for five minutes it gets one at a time, and all like that hold no more than a quarter of the window together.
        While some of its leases are older than three seconds it gets one at a time beside those, and all like that
        hold no more than half of the window together.
        """

    async def lease_in_budget(self, channel: Channel, provider: str, window: int, duration: timedelta) -> Turn:
        """Lease as many as the provider may be asked for now, which then count as spent. `next_due` says how to go on.

        All of it in one step, for a dispatcher does little else.
        """

    async def renew(
        self, leases: Sequence[Lease], duration: timedelta, *, enough: timedelta | None = None
    ) -> list[Lease]:
        """Extend to `duration` from now what would not last for `enough` (None: `duration`) anyway.

        Answers those that are still held by these tokens.
        """

    async def release(self, leases: Sequence[Lease], *, after: timedelta = timedelta(0)) -> None:
        """Give back those still held: they are due again at once, or `after` a while."""

    async def set_aside(self, leases: Sequence[Lease]) -> None:
        """Give back what cannot be read: due again in a minute, then in two, twice as long each time, an hour at most.

        Once what is due of it has changed it is like any other again.
        """

    async def drop(self, leases: Sequence[Lease]) -> None:
        """Forget what turned out to need no work."""

    async def bundled(self, bundle: UUID, limit: int) -> list[UUID]:
        """What is to go in one digest, whoever holds it and due or not; no more than `limit`.

        In one order, however often it is leased: what is due before what is not, what was set aside behind the
        others, and else as it is leased for the first time. Who may take it is for the log to say: of two who do,
        one is refused.
        """

    async def next_due(self, channel: Channel) -> timedelta | None:
        """How long until something is due that is not leased; zero or less: now; None: nothing waits.

        What waits in a lane counts from when the lane opens, and not at all in one that is held, or of which as many
        are leased as may be at a time.
        """

    async def close_lane(self, channel: Channel, lane: str, duration: timedelta) -> None:
        """Lease nothing of this lane for `duration`, then one at a time until it is opened.

        Nothing happens to a lane without terms, such as that of a subscription that was deleted during a call.
        All that are tried like that hold no more than a quarter of the window together.
        """

    async def open_lane(self, channel: Channel, lane: str) -> None:
        """A call of it has just succeeded: lease of it as its terms allow. One that is held stays so."""

    async def closed_lanes(self, channel: Channel, lanes: Collection[str]) -> set[str]:
        """Those of `lanes` that were closed and not opened since."""

    async def backlog(self) -> list[Backlog]:
        """Per channel, for people and metrics. Takes the longer the more waits."""

    async def unreadable(self) -> int:
        """How many are set aside, however much else waits."""


class Offers(Protocol):
    """Leasing in the step that stores: who offers to take what is due at once has no need to ask for it."""

    async def make(self, channel: Channel, provider: str, window: int, duration: timedelta) -> None:
        """For some seconds, what is stored and due at once may be leased to this process for `duration`.

        As many as a quarter of the window, which all who offer share, and no more than half of it together with what is
        held, if the provider may be asked for all of those; they then count as spent. Only what is new is given: not
        what is tried again, is for a digest, or is in a lane that has terms. What is stored together is given together
        or not at all. Nobody may rely on being given anything: a `DueWork.lease` gets all that nobody was given.

        Replaces what was offered before; what that did not get counts as spent no longer.
        """

    async def withdraw(self, channel: Channel) -> list[Lease]:
        """Nothing more is leased by what was offered, nor counts as spent for it.

        Answers what was leased and `taken` has not answered yet.
        """

    async def taken(self, channel: Channel, timeout: float) -> list[Lease]:
        """What was leased by an offer of this process, each once. Waits `timeout` seconds at most until there is some.

        What it was not told of it finds out when an offer is made the next time.
        """


class DeliveryQueue(Protocol):
    """A hint to the workers. It may lose everything: a lease that lapses is taken again."""

    async def put(self, channel: Channel, leases: Sequence[Lease]) -> bool:
        """False when the queue does not answer, so that probably nobody will hear of these."""


class ProviderBudget(Protocol):
    """What a provider may be asked to take, per second and per day (UTC), over all processes together."""

    async def take(self, provider: str, wanted: int) -> int:
        """How many of `wanted` messages may be sent now; those count as spent. 0 while paused."""

    async def give_back(self, provider: str, unused: int) -> None:
        """Return what was taken and not sent."""

    async def pause(self, provider: str, duration: timedelta, reason: str) -> None:
        """Let nobody send by this provider for `duration`; a shorter pause never shortens a longer one."""

    async def paused(self) -> Mapping[str, str]:
        """The providers paused now, with the reason."""
