"""Letting members of digests know what became of those."""

from collections.abc import Collection
from uuid import UUID

from application.ports.log import ConflictError, EventLog, EventStore
from application.ports.time_and_chance import Clock
from application.processes.bookmark import Place
from domain.notification import Notification

_TOPICS = (Notification.StandingChanged.TOPIC,)
_BATCH = 500
_REMEMBERED_EVERY = 10_000
"""Positions: most logs have few digests, and a start must not look for them in all of it again."""

_TRIES = 5
_BY = "digest"


class Following:
    """Follows the log and lets each member follow its digest. To do so again changes nothing: it may be interrupted."""

    def __init__(self, log: EventLog, events: EventStore, place: Place, clock: Clock) -> None:
        self._log = log
        self._events = events
        self._place = place
        self._clock = clock
        self._position: int | None = None
        self._remembered = 0

    async def catch_up(self, limit: int) -> int:
        """As far as `limit`, a position of the log; answers how many digests were of interest."""
        if self._position is None:
            self._position = self._remembered = await self._place.position()
        followed = 0
        while self._position < limit:
            read = await self._log.read(self._position, _BATCH, _TOPICS, personal=False)
            batch = [recorded for recorded in read if recorded.position <= limit]
            digests = {recorded.event.originator_id for recorded in batch}
            await self._let_follow(digests)
            followed += len(digests)
            self._position = batch[-1].position if len(batch) == _BATCH else limit
            if batch or self._position - self._remembered >= _REMEMBERED_EVERY:
                await self._place.move(self._position)
                self._remembered = self._position
        return followed

    async def _let_follow(self, digests: Collection[UUID]) -> None:
        """What they are by now counts: an older word of the log says nothing that a later one does not."""
        found = await self._events.get_many(Notification, digests, personal=False) if digests else {}
        for digest in found.values():
            await self._follow(digest)

    async def _follow(self, digest: Notification) -> None:
        for _ in range(_TRIES):
            members = await self._events.get_many(Notification, digest.members, personal=False)
            for member in members.values():
                member.follow(digest, now=self._clock.now(), by=_BY)
            if not any(member.pending_events for member in members.values()):
                return
            try:
                await self._events.save(*members.values())
                return
            except ConflictError:
                continue
        raise ConflictError(f"the members of {digest.id} keep changing")
