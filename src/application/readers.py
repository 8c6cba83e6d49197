"""What is known of readers: what they wish, where they are reached, whether their address is on a list, and how much
their tenant lets go out to them."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, time
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from eventsourcing.domain import Aggregate

from application.ports.log import EventLog, EventStore, StoreUnavailableError
from domain.decision import Decision, Defer, Digest, Message, SendNow, Suppress, decide
from domain.ids import bundle_id, limits_id, preferences_id, suppression_id
from domain.limits import Limits, Rules
from domain.notification import Notification
from domain.preferences import Preferences, Wishes
from domain.suppression import Entry, Suppression
from domain.vocabulary import Channel, Reason

AddressDigest = Callable[[str, Channel, str], str]
"""Of tenant, channel and address: what an address is known by on lists."""

MOST_KNOWN = 50_000
SECONDS_KEPT = 60.0
"""As long as keys of persons: whoever is forgotten is soon forgotten here too."""

_POLL = 0.5
_BATCH = 1_000
_NOBODY = Wishes()
_NO_SECRETS = ((), ("unsubscribe_url",))
"""The way out of a list is no secret to its reader."""
_limits_of = lru_cache(maxsize=1_000)(limits_id)  # asked of every message
_TOPICS: Sequence[str] = [
    kind.TOPIC
    for aggregate in (Preferences, Suppression, Limits)
    for kind in vars(aggregate).values()
    if hasattr(kind, "TOPIC")
]


class Who(msgspec.Struct, frozen=True):
    """Somebody at an address, and which user of the tenant's that is, if it is known."""

    tenant: str
    channel: Channel
    address: str
    user: str | None = None


class ReaderLinks(Protocol):
    """Links that say who asks: good for ever, and made by nobody else."""

    def unsubscribe(self, who: Who, category: str) -> str | None:
        """Where this reader leaves this category, the same each time; None where the service has no address."""

    def choose(self, who: Who, category: str) -> str | None:
        """Where this reader chooses what to get, on a page that also shows this category; None as above."""

    def read(self, token: str) -> tuple[Who, str] | None:
        """Whom and which category a link is about, by what stands at its end; None for what was not made here."""


class Reader(msgspec.Struct, frozen=True):
    """What holds for somebody at an address, which lists know by `listed`.

    `seen` are the streams that say so, with their lengths.
    """

    wishes: Wishes
    entries: tuple[Entry, ...]
    seen: Mapping[UUID, int]
    listed: str = ""

    def decide(
        self,
        notification: Notification,
        now: datetime,
        default_zone: str,
        local: time | None = None,
        *,
        ahead: bool = False,
        gathered: bool = False,
    ) -> Decision:
        """Where the reader chose no zone, that of the notification counts, else the default."""
        if local is None and not self.entries and self.wishes is _NOBODY:
            return SendNow()  # as most are, and what `decide` comes to as well
        zone = ZoneInfo(self.wishes.time_zone or notification.time_zone or default_zone)
        message = message_of(notification)
        return decide(message, self.wishes, self.entries, now, zone, local=local, ahead=ahead, gathered=gathered)

    def heed(self, decision: Decision, notification: Notification, *, now: datetime, by: str) -> None:
        """Let it wait, or never be sent."""
        match decision:
            case Suppress(reason):
                notification.suppress(reason, now=now, by=by)
            case Defer(until, reason):
                notification.wait(reason, until, now=now, by=by)
            case Digest(_, until):
                bundle = self._bundle(notification, until)
                notification.wait(Reason.DIGEST, until, now=now, by=by, bundle=bundle)

    def _bundle(self, notification: Notification, until: datetime) -> UUID:
        return bundle_id(
            notification.tenant,
            notification.channel,
            self.listed,
            notification.recipient_user_id or "",
            notification.category,
            notification.purpose,
            notification.locale,
            until,
        )


def message_of(notification: Notification) -> Message:
    return Message(
        type=None if notification.members else notification.type,
        category=notification.category,
        purpose=notification.purpose,
        priority=notification.priority,
        channel=notification.channel,
        expires_at=notification.expires_at,
        secret=notification.secrets not in _NO_SECRETS,
    )


class _Kept(msgspec.Struct, frozen=True):
    aggregate: Any
    length: int
    until: float


class _Lot:
    """Streams that are asked for while others are read, to be read together next."""

    def __init__(self) -> None:
        self.ids: set[UUID] = set()
        self.reading: asyncio.Task[dict[UUID, _Kept]] | None = None


class Readers:
    """Streams that were read are kept for a minute at most, and until the log says that they have grown.

    That may be heard of late, so it is good enough to answer by; what is sent names `seen`, and the log refuses it
    when that is no longer all there is.
    """

    def __init__(self, events: EventStore, digest: AddressDigest, most: int = MOST_KNOWN) -> None:
        self._events = events
        self._digest = digest
        self._most = most
        self._known: OrderedDict[UUID, _Kept] = OrderedDict()
        self._reading: list[set[UUID]] = []
        self._next: dict[type[Aggregate], _Lot] = {}
        self._turn = asyncio.Lock()

    async def users(self, tenant: str, users: Collection[str]) -> dict[str, Preferences]:
        """The preferences of those who have any."""
        ids = {preferences_id(tenant, user): user for user in users}
        kept = await self._kept(Preferences, ids)
        return {user: kept[id].aggregate for id, user in ids.items() if kept[id].aggregate}

    async def rules(self, tenants: Collection[str]) -> dict[str, Rules]:
        """Those of the tenants who have chosen any."""
        ids = {_limits_of(tenant): tenant for tenant in tenants}
        kept = await self._kept(Limits, ids)
        return {tenant: kept[id].aggregate.rules for id, tenant in ids.items() if kept[id].aggregate}

    async def of(self, readers: Sequence[Who]) -> list[Reader]:
        """What holds for each of these."""
        users = [preferences_id(who.tenant, who.user) if who.user else None for who in readers]
        named = [id for id in users if id]
        known = [self._digest(who.tenant, who.channel, who.address) for who in readers]
        lists = [suppression_id(who.tenant, who.channel, by) for who, by in zip(readers, known, strict=True)]
        wishes = await self._kept(Preferences, named) if named else {}
        entries = await self._kept(Suppression, lists)
        return [_reader(wishes, entries, *about) for about in zip(users, lists, known, strict=True)]

    def forget(self, streams: Iterable[UUID]) -> None:
        """They have grown, or may have."""
        for id in streams:
            self._known.pop(id, None)
            for each in self._reading:
                each.add(id)

    async def follow(self, log: EventLog) -> None:
        """Forget what the log says has changed, until cancelled.

        It looks twice a second: to be woken by every commit would cost each process more than it is worth.
        """
        position: int | None = None
        while True:
            try:
                position = await self._catch_up(log, position)
            except StoreUnavailableError:
                position = None
            await asyncio.sleep(_POLL)

    async def _catch_up(self, log: EventLog, position: int | None) -> int:
        head = await log.head()
        if position is None:  # who knows what happened meanwhile
            self.forget(list(self._known))
            return head
        changed = await log.read(position, _BATCH, _TOPICS, until=head, personal=False) if head > position else []
        self.forget({recorded.event.originator_id for recorded in changed})
        return changed[-1].position if len(changed) == _BATCH else head

    async def _kept(self, kind: type[Any], ids: Collection[UUID]) -> Mapping[UUID, _Kept]:
        now = asyncio.get_running_loop().time()
        found = {id: kept for id in ids if (kept := self._known.get(id)) and kept.until > now}
        if len(found) < len(ids) and (missing := set(ids) - found.keys()):
            there = await self._asked(kind, missing)
            found |= {id: there[id] for id in missing}
        return found

    async def _asked(self, kind: type[Any], ids: Collection[UUID]) -> Mapping[UUID, _Kept]:
        """Whoever asks while others are answered is answered with all who do: one query for many strangers."""
        lot = self._next.setdefault(kind, _Lot())
        lot.ids.update(ids)
        if lot.reading is None:
            lot.reading = asyncio.create_task(self._read(kind))
        return await asyncio.shield(lot.reading)

    async def _read(self, kind: type[Any]) -> dict[UUID, _Kept]:
        changed: set[UUID] = set()
        async with self._turn:
            ids = self._next.pop(kind).ids
            until = asyncio.get_running_loop().time() + SECONDS_KEPT
            self._reading.append(changed)
            try:
                there = await self._events.get_many(kind, ids)
            finally:
                self._reading.remove(changed)
        found = {id: _Kept(each := there.get(id), each.version if each else 0, until) for id in ids}
        self._known |= {id: kept for id, kept in found.items() if id not in changed}
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found


class HeardOf:
    """The event store of those who change what is known of readers: this process knows as soon as it is saved."""

    def __init__(self, events: EventStore, readers: Readers) -> None:
        self._events = events
        self._readers = readers
        self.get, self.get_many = events.get, events.get_many
        self.history, self.length = events.history, events.length

    async def save(self, *aggregates: Aggregate, urgent: bool = True, seen: Mapping[UUID, int] | None = None) -> int:
        position = await self._events.save(*aggregates, urgent=urgent, seen=seen)
        self._readers.forget(each.id for each in aggregates)
        return position


def _reader(
    wishes: Mapping[UUID, _Kept], entries: Mapping[UUID, _Kept], user: UUID | None, stream: UUID, listed: str
) -> Reader:
    suppression = entries[stream]
    seen = {stream: suppression.length}
    known: Preferences | None = None
    if user:
        seen[user], known = wishes[user].length, wishes[user].aggregate
    there = tuple(suppression.aggregate.entries.values()) if suppression.aggregate else ()
    return Reader(known.wishes if known else _NOBODY, there, seen, listed)
