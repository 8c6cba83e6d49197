"""The log, in which alone something becomes true: writing it, reading it, following it and answering for its bytes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate, AggregateEvent

from domain.chain import Entry, Link

A = TypeVar("A", bound=Aggregate)


class ConflictError(Exception):
    """Somebody else appended to one of these streams first; nothing of this save was stored."""


class StaleError(ConflictError):
    """What was decided on has changed meanwhile: look again, and decide again. Nothing of this save was stored."""


class StoreUnavailableError(Exception):
    """The store does not answer. What was being saved may or may not be stored; nothing was acknowledged."""


class AlteredError(Exception):
    """What is stored is not what was stored: somebody has changed or moved it."""


class Recorded(msgspec.Struct, frozen=True):
    """An event and its position in the log: positions grow without ever revealing a smaller one later."""

    position: int
    event: AggregateEvent


class EventStore(Protocol):
    """The only place where something becomes true."""

    async def save(self, *aggregates: Aggregate, urgent: bool = True, seen: Mapping[UUID, int] | None = None) -> int:
        """Append the pending events of all `aggregates`, all or none, together with the work that follows from them.

        Answers the position of the last event once it is durable. Raises ConflictError when a stream has grown
        meanwhile and StoreUnavailableError when the store is away. Concurrent saves share one transaction; a conflict
        fails its own caller only. With nothing pending it answers the last position known. What is not `urgent` may
        wait a few milliseconds, so that more go together.

        `seen` are streams and the lengths that the decision rests on: raises StaleError when one of them is longer by
        now, also by what is stored together with this.
        """

    async def get(self, kind: type[A], id: UUID) -> A | None:
        """The aggregate as its events made it, or None; a stream of another kind is None too."""

    async def get_many(self, kind: type[A], ids: Collection[UUID], *, personal: bool = True) -> dict[UUID, A]:
        """Those that exist, in one round trip; without `personal` as in `history`."""

    async def history(self, id: UUID, *, personal: bool = True) -> list[Recorded]:
        """The events of one stream in order; empty when there is none.

        Without `personal`, personal data stay sealed and read as `Erased`. With it, this and whatever else reads them
        raises AlteredError when they are not as they were stored.
        """

    async def length(self, id: UUID) -> int:
        """How many events the stream has now, 0 when there is none; cheaper than to read them."""


class EventLog(Protocol):
    """The log as one sequence, for those who follow it."""

    async def read(
        self, after: int, limit: int, topics: Sequence[str] = (), *, until: int | None = None, personal: bool = True
    ) -> list[Recorded]:
        """At most `limit` events with a position greater than `after`, in order, of these topics (none: all).

        None of a position greater than `until`, if that is given: who asks for what is seldom without it has all the
        rest of the log searched.

        Without `personal`, which costs as much as the rest, personal data stay sealed and read as `Erased`.

        No event ever appears at a position that was already read past.
        """

    async def head(self) -> int:
        """The position of the last event, 0 for an empty log."""


class StoredLog(Protocol):
    """The log as it is stored, for those who answer for its bytes."""

    async def entries(self, after: int, limit: int) -> list[Entry]:
        """At most `limit` events with a position greater than `after`, in order.

        Bytes that cannot be read are handed out like others, as nobody's.
        """


class Chain(Protocol):
    """The links of all tenants' chains. They are evidence: there is no way to change or to remove one."""

    async def position(self) -> int:
        """How far the log is chained."""

    async def heads(self, tenants: Collection[str] | None = None) -> list[Link]:
        """The last link of each of these that has one, or of everybody, by tenant."""

    async def links(self, after: int, until: int) -> list[Link]:
        """Those that end after position `after` and not after `until`, in order of their ends."""

    async def extend(self, links: Sequence[Link], position: int, *, after: int) -> None:
        """Add these links and stand at `position`, both or neither.

        Raises ConflictError when not at `after`, or when a tenant's link with one of these ends is there already.
        """


class Wakeup(Protocol):
    async def wait(self, timeout: float) -> None:
        """Return as soon as the log may have grown since the last return, or after `timeout` seconds."""


class Persons(Protocol):
    """Whose data is whose: each person's data is sealed with keys of their own."""

    def person(self, tenant: str, address: str) -> UUID:
        """The id of a key of this person; it becomes durable together with the first event that uses it."""

    async def forget(self, tenant: str, address: str) -> int:
        """Destroy every key of this person and answer how many: their data then reads as `Erased` everywhere."""
