"""What other systems are told, and what those who watch the service are."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Announcement(msgspec.Struct, frozen=True):
    """One record for other systems: `id` is the same whenever it is told again, and those of one `key` are in order."""

    id: str
    key: str
    body: bytes


class Untold(msgspec.Struct, frozen=True):
    """Those that may not have arrived, and what is in the way, in words for an operator."""

    ids: frozenset[str]
    problem: str


class EventTopic(Protocol):
    """Where other systems hear of what happens.

    That it cannot be told is a value, never an exception; only cancellation passes through.
    """

    async def publish(self, announcements: Sequence[Announcement]) -> Untold | None:
        """Hand these over; None: all of them are there for good. Those of a key arrive in this order.

        It ends by its own deadline. What it then answers as untold does not arrive later than the next call begins,
        and of one key nothing arrives behind what is untold.
        """

    async def problem(self) -> str | None:
        """What would be in the way now; None: nothing that is known."""

    async def close(self) -> None:
        """Let go at once, of what is not acknowledged too."""


class Troubles(Protocol):
    """What keeps a part from its work, for those who watch the service. It changes nothing of what is done."""

    async def tell(self, part: str, problem: str) -> None:
        """It holds for a minute from now: who is still in trouble says so again, and who is gone is forgotten."""

    async def over(self, part: str) -> None: ...

    async def known(self) -> Mapping[str, str]:
        """The problem of each part that has told of one."""
