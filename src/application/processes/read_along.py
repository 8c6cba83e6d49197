"""What the projector has just read, for those who go over the same stretch of the log after it."""

from collections.abc import Sequence

from application.ports.log import EventLog, Recorded
from application.projections.projection import topic_of


class ReadAlong:
    """An EventLog that remembers the last batch that was read of all topics.

    Who asks for some topics of that stretch is answered from it, so that nothing is fetched and opened twice: with
    personal data, wished for or not. Where the batch ends before their `until` the log itself is asked: the batch may
    be that of a read model that lags.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._after = 0
        self._batch: Sequence[Recorded] = ()

    async def head(self) -> int:
        return await self._log.head()

    async def read(
        self, after: int, limit: int, topics: Sequence[str] = (), *, until: int | None = None, personal: bool = True
    ) -> list[Recorded]:
        if topics and until is not None and self._after <= after and until <= self._end:
            return [each for each in self._batch if after < each.position <= until and topic_of(each) in topics][:limit]
        read = await self._log.read(after, limit, topics, until=until, personal=personal)
        if personal and not topics:
            self._after, self._batch = after, read
        return read

    @property
    def _end(self) -> int:
        return self._batch[-1].position if self._batch else self._after
