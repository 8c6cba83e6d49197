"""Time and chance as a test wants them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID


class SetClock:
    """Stands still until it is moved."""

    def __init__(self, at: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def move(self, by: timedelta) -> datetime:
        self.at += by
        return self.at


class MachineClock:
    """Goes by itself."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class LoadedDice:
    """Ids that count up in the shape of UUIDv7, and always the same luck: in the middle unless set."""

    def __init__(self, luck: float = 0.5) -> None:
        self.next_luck = luck
        self._drawn = 0

    def id(self) -> UUID:
        self._drawn += 1
        return UUID(int=0x0190_0000_0000 << 80 | 0x7 << 76 | 0b10 << 62 | self._drawn)

    def luck(self) -> float:
        return self.next_luck
