"""What a process cannot know by itself: the moment, and whatever must not repeat."""

from datetime import datetime
from typing import Protocol
from uuid import UUID


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, in UTC, with its zone."""


class Dice(Protocol):
    """Everything that must not repeat."""

    def id(self) -> UUID:
        """A new UUIDv7: later ids sort after earlier ones of the same process."""

    def luck(self) -> float:
        """A number in [0, 1)."""
