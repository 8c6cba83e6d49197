"""Letting members of digests know what became of those."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Protocol
from uuid import UUID

from application.ports.log import ConflictError, EventLog, EventStore
from application.ports.publishing import Troubles
from application.ports.time_and_chance import Clock
from application.processes.bookmark import Bookmark, Place
from application.reading import readable
from domain.notification import Notification

PART = "following"
"""What it is called where troubles are told."""

_TOPICS = (Notification.StandingChanged.TOPIC,)
_BATCH = 200
_MEMBERS_AT_A_TIME = 500
_TRIES = 5
_BY = "digest"


class FollowLog(Protocol):
    """Where what does not follow leaves a line."""

    def unreadable(self, notification: UUID, error: Exception) -> None: ...


class Following:
    """Follows the log and lets each member follow its digest. To do so again changes nothing: it may be interrupted.

    What cannot be read is passed over and said, for the others must not wait for it: it follows when its digest stands
    otherwise once more.
    """

    def __init__(
        self, log: EventLog, events: EventStore, place: Place, troubles: Troubles, clock: Clock, lines: FollowLog
    ) -> None:
        self._log = log
        self._events = events
        self._bookmark = Bookmark(place)
        self._troubles = troubles
        self._clock = clock
        self._lines = lines
        self._position: int | None = None
        self._told = False

    async def catch_up(self, limit: int) -> int:
        """As far as `limit`, a position of the log; answers how many digests were of interest."""
        if self._position is None:
            self._position = await self._bookmark.position()
        followed = 0
        while self._position < limit:
            batch = await self._log.read(self._position, _BATCH, _TOPICS, until=limit, personal=False)
            digests = {recorded.event.originator_id for recorded in batch}
            await self._let_follow(digests)
            followed += len(digests)
            behind = len(batch) == _BATCH
            self._position = batch[-1].position if behind else limit
            await self._bookmark.reached(self._position, worthwhile=bool(batch))
            await self._tell(limit - self._position if behind else 0)
        return followed

    async def _tell(self, behind: int) -> None:
        if behind:
            await self._troubles.tell(PART, f"members of digests are told late: {behind} events behind")
        elif self._told:
            await self._troubles.over(PART)
        self._told = behind > 0

    async def _let_follow(self, ids: Collection[UUID]) -> None:
        """What they are by now counts: an older word of the log says nothing that a later one does not.

        Raises ConflictError where one keeps changing, when all others have followed.
        """
        restless = []
        for several in _in_lots((await self._readable(ids)).values()):
            try:
                await self._follow(several)
            except ConflictError:
                restless += [digest for digest in several if not await self._follows_alone(digest)]
        if restless:
            raise ConflictError(f"the members of {restless[0].id} keep changing")

    async def _follows_alone(self, digest: Notification) -> bool:
        for _ in range(_TRIES):
            with suppress(ConflictError):
                await self._follow([digest])
                return True
        return False

    async def _follow(self, digests: Iterable[Notification]) -> None:
        """All in one save. Raises ConflictError."""
        named = {digest.id: digest for digest in digests}
        members = await self._readable([id for digest in named.values() for id in digest.members])
        for member in members.values():
            if digest := named.get(member.digest_id or member.id):
                member.follow(digest, now=self._clock.now(), by=_BY)
        if changed := [member for member in members.values() if member.pending_events]:
            await self._events.save(*changed)

    async def _readable(self, ids: Collection[UUID]) -> Mapping[UUID, Notification]:
        async def read(some: Collection[UUID]) -> Mapping[UUID, Notification]:
            return await self._events.get_many(Notification, some, personal=False) if some else {}

        found = await readable([*ids], read, self._lines.unreadable)
        if len(found) < len(ids):
            await self._troubles.tell(PART, f"messages of digests that cannot be read: {len(ids) - len(found)}")
        return found


def _in_lots(digests: Iterable[Notification]) -> Iterator[list[Notification]]:
    """As many together as have no more than so many members, or one alone."""
    lot: list[Notification] = []
    members = 0
    for digest in digests:
        if lot and members + len(digest.members) > _MEMBERS_AT_A_TIME:
            yield lot
            lot, members = [], 0
        lot.append(digest)
        members += len(digest.members)
    if lot:
        yield lot
