"""Putting addresses on the suppression list when providers report that they are dead, full, or not amused."""

from collections.abc import Sequence
from typing import Any

from application.ports.log import ConflictError, EventLog, EventStore, Persons
from application.ports.time_and_chance import Clock
from application.processes.bookmark import Bookmark, Place
from application.readers import AddressDigest
from domain.ids import suppression_id
from domain.notification import Notification
from domain.personal import Letter, Listed
from domain.suppression import Suppression
from domain.vocabulary import Ground, Reason

_TOPICS = (Notification.Bounced.TOPIC, Notification.Complained.TOPIC, Notification.DeadLettered.TOPIC)
_BATCH = 500
_TRIES = 5
_SOURCE = "callback"


class Suppressing:
    """Follows the log behind the read models. To look at an event again changes nothing, so it may be interrupted."""

    def __init__(
        self, log: EventLog, events: EventStore, persons: Persons, digest: AddressDigest, place: Place, clock: Clock
    ) -> None:
        self._log = log
        self._events = events
        self._persons = persons
        self._digest = digest
        self._bookmark = Bookmark(place)
        self._clock = clock
        self._position: int | None = None

    async def catch_up(self, limit: int) -> int:
        """As far as `limit`, a position of the log; answers how many events were of interest."""
        if self._position is None:
            self._position = await self._bookmark.position()
        taken = 0
        while self._position < limit:
            batch = await self._log.read(self._position, _BATCH, _TOPICS, until=limit, personal=False)
            taken += (now := await self._take([recorded.event for recorded in batch]))
            self._position = batch[-1].position if len(batch) == _BATCH else limit
            await self._bookmark.reached(self._position, worthwhile=now > 0)
        return taken

    async def _take(self, events: Sequence[Any]) -> int:
        telling = [event for event in events if _tells(event)]
        for event in telling:
            await self._suppress(event)
        return len(telling)

    async def _suppress(self, event: Any) -> None:
        notification = await self._events.get(Notification, event.originator_id)
        if notification is None or not isinstance(notification.letter, Letter):
            return  # whoever was forgotten is not put on a list again
        tenant, channel, address = notification.tenant, notification.channel, notification.letter.address
        known_by = self._digest(tenant, channel, address)
        for _ in range(_TRIES):
            suppression = await self._events.get(Suppression, suppression_id(tenant, channel, known_by))
            if suppression is None:
                listed = Listed(person=self._persons.person(tenant, address), address=address)
                suppression = Suppression.begin(tenant, channel, known_by, listed, now=self._clock.now(), by=event.by)
            self._apply(event, suppression)
            try:
                await self._events.save(suppression)
                return
            except ConflictError:
                continue
        raise ConflictError(f"the list entry of {event.originator_id} keeps changing")

    def _apply(self, event: Any, suppression: Suppression) -> None:
        now = self._clock.now()
        match event:
            case Notification.Bounced(reason=Reason.SOFT_BOUNCE):
                suppression.soft_bounce(event.occurred_at, now=now, by=event.by)
            case Notification.Bounced():
                suppression.add(Ground.HARD_BOUNCE, source=_SOURCE, now=now, by=event.by)
            case Notification.Complained():
                suppression.add(Ground.COMPLAINT, source=_SOURCE, now=now, by=event.by)
            case _:
                suppression.add(Ground.INVALID, source=_SOURCE, now=now, by=event.by)


def _tells(event: Any) -> bool:
    """Whether it says anything of the address; a message is given up for many reasons."""
    return not isinstance(event, Notification.DeadLettered) or event.reason is Reason.INVALID_RECIPIENT
