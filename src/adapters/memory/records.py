"""Counts of records that last as long as the process."""

from collections import Counter
from collections.abc import Mapping


class MemoryRecordCounts:
    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    async def add(self, counts: Mapping[tuple[str, str], int]) -> None:
        self._counts.update(counts)

    async def all(self) -> dict[tuple[str, str], int]:
        return dict(sorted(self._counts.items()))
