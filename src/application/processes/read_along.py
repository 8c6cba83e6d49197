"""What the projector has just read, for those who go over the same stretch of the log after it."""

from collections.abc import Sequence

from application.ports.log import EventLog, Recorded
from application.projections.projection import topic_of


class ReadAlong:
    """An EventLog that remembers the last batch that was read of all topics.

    Who asks for some topics of that stretch is answered from it, so that nothing is fetched and opened twice. They look
    no further than `until`: where the batch ends before that, it may be that of a read model that is behind.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._after = 0
        self._batch: Sequence[Recorded] = ()
        self.until = 0

    async def head(self) -> int:
        return await self._log.head()

    async def read(
        self, after: int, limit: int, topics: Sequence[str] = (), *, personal: bool = True
    ) -> list[Recorded]:
        if topics and self._batch and self._after <= after < self.until <= self._batch[-1].position:
            return [each for each in self._batch if each.position > after and topic_of(each) in topics][:limit]
        read = await self._log.read(after, limit, topics, personal=personal)
        if personal and not topics:
            self._after, self._batch = after, read
        return read
