"""A record as it comes, and the event that is in it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from domain.parked import Origin, ParkReason

MOST_BYTES = 1024 * 1024
"""Of one record's value, as of one request."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One record of a topic, as its producer wrote it. `unreadable` says why there is nothing but its place."""

    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    unreadable: str | None = None


class InboundEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened elsewhere. `identity` is the same however often, and from wherever, it comes.

    `document` is what paths look into: what the envelope says, and `data`.
    """

    identity: str
    id: str | None
    type: str
    time: datetime
    document: dict[str, Any]


class UnfitError(Exception):
    """The record cannot become anything; `problems` say why, and may repeat what is in it."""

    def __init__(self, reason: ParkReason, *problems: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.problems = problems


Read = Callable[[Record], InboundEvent | None]
"""Takes the event out of a record; None where there is none, as in a tombstone. Raises UnfitError."""


class CostlyPathError(Exception):
    """To find what was asked for takes more than it may; the message says what of."""


class Look(Protocol):
    """A look into one document, which has an end whatever is looked for."""

    def find(self, path: str) -> Any:
        """What is there, or None. Raises CostlyPathError when all that was looked for together takes too much."""


class Paths(Protocol):
    """The language of paths and conditions, which tenants write, whom nobody trusts."""

    def fault(self, path: str) -> str | None:
        """Why this is no path that can be used, or None."""

    def look(self, document: Mapping[str, Any]) -> Look: ...


class Tenants(Protocol):
    """Who is a customer."""

    async def known(self, tenant: str) -> bool:
        """Whether there is a tenant of this name: one that has an API key."""
