"""Reading many of which some may be beyond reading."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from application.ports.log import StoreUnavailableError

T = TypeVar("T")


async def readable(
    ids: Sequence[UUID],
    read: Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, T]]],
    unreadable: Callable[[UUID, Exception], None],
) -> Mapping[UUID, T]:
    """Those that can be read. One that cannot is looked for by halves, for the others must not wait for it."""
    try:
        return await read(ids)
    except StoreUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - a lost key, an event of a later version: whatever it is, it is theirs
        if len(ids) < 2:
            for id in ids:
                unreadable(id, error)
            return {}
        half = len(ids) // 2
        return {**await readable(ids[:half], read, unreadable), **await readable(ids[half:], read, unreadable)}
