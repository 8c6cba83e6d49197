"""A projection's rows in a dictionary."""

from collections.abc import Collection, Mapping
from typing import Generic, TypeVar

import msgspec

from application.ports.log import ConflictError

K = TypeVar("K")
R = TypeVar("R", bound=msgspec.Struct)


class MemoryView(Generic[K, R]):
    """Rows go in and out as copies: what a reader does to a row stays the reader's."""

    def __init__(self) -> None:
        self._rows: dict[K, R] = {}
        self._position = 0

    async def position(self) -> int:
        return self._position

    async def rows(self, keys: Collection[K]) -> dict[K, R]:
        return {key: _copy(self._rows[key]) for key in keys if key in self._rows}

    async def write(self, rows: Mapping[K, R], position: int, *, after: int, new: Collection[K] = frozenset()) -> None:
        if self._position != after:
            raise ConflictError(f"the view does not stand at {after}")
        if self._rows.keys() & new:
            raise ConflictError("a row is there that should be new")
        self._rows.update({key: _copy(row) for key, row in rows.items()})
        self._position = position


def _copy(row: R) -> R:
    return msgspec.convert(msgspec.to_builtins(row), type(row))
