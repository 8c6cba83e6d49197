"""What came along with a notice, for who works on it."""

from collections.abc import Collection
from time import monotonic
from uuid import UUID

from adapters.postgres.event_store import PostgresEventStore
from adapters.postgres.notices import Row
from domain.notification import Notification

_KEPT_SECONDS, _MOST = 3.0, 1_000
"""How long what came is worth anything, and of how many streams on it is looked whether they still are."""


class Arrivals:
    """Streams as they were stored a moment ago. Each is read from here once, and else from the log.

    What they have grown by since, the log tells who appends to them. It is for nobody but who delivers.
    """

    def __init__(self, store: PostgresEventStore) -> None:
        self._store = store
        self._came: dict[UUID, tuple[float, list[Row]]] = {}

    def put(self, rows: Collection[Row]) -> None:
        now = monotonic()
        if len(self._came) > _MOST:
            self._came = {id: came for id, came in self._came.items() if came[0] > now - _KEPT_SECONDS}
        for row in rows:
            self._came.setdefault(row[0], (now, []))[1].append(row)

    async def read(self, ids: Collection[UUID]) -> dict[UUID, Notification]:
        """Raises what the store raises, too, when not all of these have just come."""
        since, found = monotonic() - _KEPT_SECONDS, [self._came.pop(id, None) for id in ids]
        rows = [row for came in found if came and came[0] >= since for row in came[1]]
        if len({row[0] for row in rows}) < len(found):
            return await self._store.get_many(Notification, ids)
        return await self._store.made_of(Notification, rows)
