"""How much of what is a tenant's own may go out when."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from domain.limits import Window


class Place(msgspec.Struct, frozen=True):
    """When it is somebody's turn, and the name of the window that made them wait, if one did."""

    at: datetime
    window: str | None = None


class RateLimiter(Protocol):
    """Who may go when, so that no window sees more than it allows; one queue for each key."""

    async def take(self, key: str, windows: Sequence[Window], now: datetime, latest: datetime | None = None) -> Place:
        """The next free place: that of `now` while there is room, else the first in which there is some.

        It is taken, unless it is later than `latest`. Places that are taken are not asked for again: whoever comes
        later stands behind. In any stretch as long as a window there are never more places than that allows; where it
        allows more than a thousand, about as many. However long the queue, the wait is a year at most. Never raises:
        what cannot be asked is decided by what this process knows.
        """

    async def close(self) -> None: ...
