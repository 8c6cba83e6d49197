"""Addresses that nothing is sent to, and why: one stream for each address of a channel."""

from datetime import datetime, timedelta

import msgspec
from eventsourcing.domain import Aggregate

from domain.ids import suppression_id
from domain.personal import Erased, Listed
from domain.vocabulary import Channel, Ground

SOFT_BOUNCES = 5
SPREAD = timedelta(hours=72)
"""Apart that many soft bounces have to be at the least: a mailbox that is full for an hour is nothing."""

MEMORY = timedelta(days=30)
FIRST_REST = timedelta(days=7)
LONGEST_REST = timedelta(days=112)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One reason to leave an address alone: for one `category` or all (None), for ever or `until`.

    `source` says where it is known from, such as `callback`, `api`, `import` or `link`.
    """

    ground: Ground
    category: str | None
    since: datetime
    until: datetime | None
    source: str

    def holds(self, category: str, now: datetime) -> bool:
        return self.category in (None, category) and (self.until is None or now < self.until)


class Suppression(Aggregate):
    """It knows its address by a keyed digest. The address itself is sealed and can be forgotten without it."""

    class Event(Aggregate.Event):
        tenant: str
        channel: Channel
        address_digest: str
        by: str

    class Begun(Event, Aggregate.Created):
        TOPIC = "suppression.begun"

        personal: Listed | Erased

    class Added(Event):
        TOPIC = "suppression.added"

        ground: Ground
        category: str | None
        until: datetime | None
        source: str

        def apply(self, suppression: "Suppression") -> None:
            suppression.entries[self.ground, self.category] = Entry(
                ground=self.ground,
                category=self.category,
                since=self.timestamp,
                until=self.until,
                source=self.source,
            )
            if self.ground is Ground.SOFT_BOUNCES:
                suppression.soft_bounces = ()
                suppression.rests += 1

    class Removed(Event):
        TOPIC = "suppression.removed"

        ground: Ground
        category: str | None
        source: str

        def apply(self, suppression: "Suppression") -> None:
            suppression.entries.pop((self.ground, self.category), None)

    class SoftBounced(Event):
        TOPIC = "suppression.soft_bounced"

        occurred_at: datetime

        def apply(self, suppression: "Suppression") -> None:
            times = {*suppression.soft_bounces, self.occurred_at}
            suppression.soft_bounces = tuple(sorted(each for each in times if max(times) - each < MEMORY))

    def __init__(self, tenant: str, channel: Channel, address_digest: str, personal: Listed | Erased) -> None:
        self.tenant = tenant
        self.channel = channel
        self.address_digest = address_digest
        self.listed = personal
        self.entries: dict[tuple[Ground, str | None], Entry] = {}
        self.soft_bounces: tuple[datetime, ...] = ()
        self.rests = 0

    @classmethod
    def begin(
        cls, tenant: str, channel: Channel, address_digest: str, listed: Listed, *, now: datetime, by: str
    ) -> "Suppression":
        """That of an address of which nothing is known."""
        return cls._create(
            cls.Begun,
            id=suppression_id(tenant, channel, address_digest),
            timestamp=now,
            tenant=tenant,
            channel=channel,
            address_digest=address_digest,
            by=by,
            personal=listed,
        )

    def add(
        self,
        ground: Ground,
        *,
        category: str | None = None,
        until: datetime | None = None,
        source: str,
        now: datetime,
        by: str,
    ) -> bool:
        """Whether that is news: the same once more, as a callback that comes again, leaves no event."""
        known = self.entries.get((ground, category))
        if known and known.until == until:
            return False
        self._trigger(self.Added, now, by, ground=ground, category=category, until=until, source=source)
        return True

    def remove(
        self, ground: Ground | None = None, *, category: str | None = None, source: str, now: datetime, by: str
    ) -> bool:
        """Take away what stands on this ground for this category, or everything; whether there was anything."""
        gone = [key for key in self.entries if ground is None or key == (ground, category)]
        for each, theirs in gone:
            self._trigger(self.Removed, now, by, ground=each, category=theirs, source=source)
        return bool(gone)

    def soft_bounce(self, occurred_at: datetime, *, now: datetime, by: str) -> None:
        """Count it. After too many of them the address is left alone for a while, longer each time."""
        if occurred_at in self.soft_bounces:
            return
        self._trigger(self.SoftBounced, now, by, occurred_at=occurred_at)
        times = self.soft_bounces
        if len(times) >= SOFT_BOUNCES and times[-1] - times[0] >= SPREAD:
            rest = min(FIRST_REST * 2**self.rests, LONGEST_REST)
            self.add(Ground.SOFT_BOUNCES, until=now + rest, source="callback", now=now, by=by)

    def _trigger(self, event: type[Event], now: datetime, by: str, **said: object) -> None:
        about = {"tenant": self.tenant, "channel": self.channel, "address_digest": self.address_digest, "by": by}
        self.trigger_event(event, timestamp=now, **about, **said)
