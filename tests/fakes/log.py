"""A log that is a list."""

from collections.abc import Iterable, Sequence

from eventsourcing.domain import AggregateEvent

from application.ports.log import Recorded
from application.projections.projection import topic_of


class FakeLog:
    """Implements the port EventLog over these events, at the positions from 1. `asked`: how often it was read."""

    def __init__(self, events: Iterable[AggregateEvent]) -> None:
        self.asked = 0
        self._recorded = [Recorded(position, event) for position, event in enumerate(events, start=1)]

    async def read(
        self, after: int, limit: int, topics: Sequence[str] = (), *, until: int | None = None, personal: bool = True
    ) -> list[Recorded]:
        self.asked += 1
        found = [each for each in self._recorded[after:until] if not topics or topic_of(each) in topics]
        return found[:limit]

    async def head(self) -> int:
        return len(self._recorded)
