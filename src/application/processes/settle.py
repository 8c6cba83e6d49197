"""Bringing what providers report to the notification it is about."""

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from application.ports.log import ConflictError, EventLog, EventStore, Recorded
from application.ports.time_and_chance import Clock
from application.processes.bookmark import Bookmark, Place
from domain.notification import Notification
from domain.personal import Remark
from domain.receipts import Receipt

_TOPICS = (Receipt.Received.TOPIC, Notification.Sent.TOPIC)
_BATCH = 500
_TRIES = 5

Message = tuple[str, str]
"""A provider and its id of a message: another provider may use the same one."""


READ = ("notifications", "receipts")
"""The projections behind a ReceiptsReader: no other one's trouble keeps a receipt from its notification."""


class ReceiptsReader(Protocol):
    """What the read models know of receipts and of provider ids."""

    async def notifications_of(self, messages: Sequence[Message]) -> dict[Message, UUID]:
        """Our notification for each of these that is known."""

    async def receipts_of(self, messages: Sequence[Message]) -> list[UUID]:
        """The receipts that came for these without naming a notification."""


class Settlement:
    """Follows the log behind the read models and applies each receipt to its notification.

    A receipt that names our notification is applied to it; one that gives the provider's id only is matched by the
    read model, at once or when the notification with that id is sent. Applying one again changes nothing, so this may
    be interrupted anywhere.
    """

    def __init__(self, log: EventLog, events: EventStore, reader: ReceiptsReader, place: Place, clock: Clock) -> None:
        self._log = log
        self._events = events
        self._reader = reader
        self._bookmark = Bookmark(place)
        self._clock = clock
        self._position: int | None = None

    async def catch_up(self, limit: int) -> int:
        """Settle what the log holds up to `limit`, a position that what is READ has reached; answers how many."""
        if self._position is None:
            self._position = await self._bookmark.position()
        settled = 0
        while self._position < limit:
            batch = await self._log.read(self._position, _BATCH, _TOPICS, until=limit)
            settled += (now := await self._settle(batch))
            full = len(batch) == _BATCH
            self._position = batch[-1].position if full else limit
            await self._bookmark.reached(self._position, worthwhile=now > 0)
        return settled

    async def _settle(self, batch: Sequence[Recorded]) -> int:
        received = [r.event for r in batch if isinstance(r.event, Receipt.Received)]
        sent: list[Any] = [r.event for r in batch if isinstance(r.event, Notification.Sent)]
        pairs = await self._matched(received) + await self._waited_for([_message(e) for e in sent if e.provider_id])
        for notification, receipt in pairs:
            await self._apply(notification, receipt)
        return len(pairs)

    async def _matched(self, received: Sequence[Any]) -> list[tuple[UUID, Any]]:
        unnamed = [_message(e) for e in received if e.notification is None and e.provider_id]
        known = await self._reader.notifications_of(unnamed) if unnamed else {}
        pairs = [(e.notification or known.get(_message(e)), e) for e in received]
        return [(id, e) for id, e in pairs if id]

    async def _waited_for(self, messages: Sequence[Message]) -> list[tuple[UUID, Any]]:
        """Receipts that were here before their notification was known under the provider's id."""
        waiting = await self._reader.receipts_of(messages) if messages else []
        if not waiting:
            return []
        known = await self._reader.notifications_of(messages)
        events: list[Any] = [recorded.event for id in waiting for recorded in await self._events.history(id)]
        return [(known[_message(e)], e) for e in events if _message(e) in known]

    async def _apply(self, id: UUID, receipt: Any) -> None:
        for _ in range(_TRIES):
            notification = await self._events.get(Notification, id)
            if notification is None:
                return
            notification.receive(
                receipt.kind,
                provider=receipt.provider,
                provider_id=receipt.provider_id,
                generation=receipt.generation,
                occurred_at=receipt.occurred_at,
                detail=receipt.personal.text if isinstance(receipt.personal, Remark) else "",
                now=self._clock.now(),
                by=receipt.by,
            )
            try:
                await self._events.save(notification)
                return
            except ConflictError:
                continue
        raise ConflictError(f"notification {id} keeps changing")


def _message(event: Any) -> Message:
    return event.provider, event.provider_id
