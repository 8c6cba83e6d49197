"""What readers see."""

from collections.abc import Collection, Mapping
from typing import Protocol, TypeVar

import msgspec

K = TypeVar("K")
R = TypeVar("R", bound=msgspec.Struct)


class View(Protocol[K, R]):
    """The rows of one projection. Rows and position are written together or not at all."""

    async def position(self) -> int: ...

    async def rows(self, keys: Collection[K]) -> dict[K, R]: ...

    async def write(self, rows: Mapping[K, R], position: int, *, after: int, new: Collection[K] = frozenset()) -> None:
        """Put these rows, of which those under the keys `new` are not there yet, and stand at `position`.

        Raises ConflictError when the view does not stand at `after`, or is another than the one this object last
        asked for its position or wrote: somebody else has moved or replaced it, and nothing was written. The same when
        a row is there under one of the keys `new`, however many rows they are.
        """
