"""How much of what is a tenant's own may go out when."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from domain.limits import Window

MOST_EXACT = 1_000
"""Of windows that allow no more, the time of each place is kept; of others it is taken to be evenly spread."""

KEPT = timedelta(minutes=1)
"""A place that passed by longer ago is lost, or all who were due while nobody worked would go at once."""

REMEMBERED = timedelta(hours=1)
LONGEST_WAIT = timedelta(days=366)


class Line(msgspec.Struct, frozen=True):
    """A queue, known by `key`, and what its places have to keep to; `waits`: whether anybody is to wait in it."""

    key: str
    windows: Sequence[Window]
    name: str = ""
    waits: bool = True


class Place(msgspec.Struct, frozen=True):
    """When it is somebody's turn, and which line and window made them wait, if one did."""

    at: datetime
    line: str | None = None
    window: str | None = None


class RateLimiter(Protocol):
    """Who may go when, so that no window sees more than it allows."""

    async def take(self, holder: str, lines: Sequence[Line], now: datetime, latest: datetime | None = None) -> Place:
        """The first moment from `now` on at which all of these lines have room, taken in each of them.

        It is not taken where it is later than `latest`, or later than now because of a line in which nobody waits.

        Whoever asks again has not used the place taken before: that still holds for `KEPT` after its moment; else it is
        given back, so that nobody stands behind themselves. It is remembered as long as the longest window of no more
        than `MOST_EXACT` counts it, and `REMEMBERED` at the least.

        Whoever comes later stands behind. In any stretch as long as a window there are never more places than that
        allows; where it allows more than `MOST_EXACT`, about as many. However long the queue, nobody waits for longer
        than `LONGEST_WAIT`. Never raises: what cannot be asked is decided by what this process knows.
        """

    async def close(self) -> None: ...
