"""What other systems are told, as a list."""

from collections.abc import Sequence

from application.ports.publishing import Announcement, Untold


class MemoryEventTopic:
    """Set `in_the_way` to what keeps it from taking anything."""

    def __init__(self) -> None:
        self.told: list[Announcement] = []
        self.in_the_way: str | None = None

    async def publish(self, announcements: Sequence[Announcement]) -> Untold | None:
        if self.in_the_way:
            return Untold(frozenset(each.id for each in announcements), self.in_the_way)
        self.told += announcements
        return None

    async def problem(self) -> str | None:
        return self.in_the_way

    async def close(self) -> None: ...
