"""The machine's source of chance."""

import random
from time import time_ns
from uuid import UUID

from adapters.chance import RandomBytes


class SystemDice:
    """UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, 12 of the fraction, 62 random; rising within a process."""

    def __init__(self) -> None:
        self._last = 0
        self._random = RandomBytes()

    def id(self) -> UUID:
        ticks = max(self._last + 1, (time_ns() << 12) // 1_000_000)
        self._last = ticks
        high = (ticks >> 12) << 16 | 0x7000 | (ticks & 0xFFF)
        low = int.from_bytes(self._random.take(8)) >> 2
        return UUID(int=high << 64 | 0b10 << 62 | low)

    def luck(self) -> float:
        return random.random()  # noqa: S311 - spreads retries, guards nothing
