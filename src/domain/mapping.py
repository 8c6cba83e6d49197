"""What an event of another service becomes. Mappings are data: the house's in a file, each tenant's own beside it."""

import re
from datetime import datetime

import msgspec
from eventsourcing.domain import Aggregate

from domain.ids import mappings_id
from domain.vocabulary import Priority

MOST_MAPPINGS = 100
"""Of one tenant."""
MOST_CHANGES = 5_000
"""Ever, by one tenant: its stream is read at once."""

_NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")


class TooManyMappingsError(Exception):
    """There is room for so many and no more."""


class RecipientPaths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the event says whom to reach."""

    user_id: str | None = None
    email: str | None = None
    name: str | None = None
    locale: str | None = None
    time_zone: str | None = None


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So long before a moment that the event names, and never from that moment on."""

    at: str
    hours_before: float = 0.0


class NotificationTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reader is told by email. Each variable has a path."""

    type: str
    recipient: RecipientPaths
    variables: dict[str, str] = {}
    priority: Priority | None = None
    schedule: Schedule | None = None


class WebhookTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whoever subscribed to `type` is told, with what is at the path `data`."""

    type: str
    data: str = "data"
    organization: str | None = None


class MappingTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events of this type in this topic become one or the other, where the condition holds.

    One that is not `enabled` takes the place of the house's of the same name and does nothing.
    """

    topic: str
    event: str
    condition: str | None = None
    notification: NotificationTerms | None = None
    webhook: WebhookTerms | None = None
    enabled: bool = True

    @property
    def paths(self) -> dict[str, str]:
        """Every path in it, by its place."""
        found: dict[str, str | None] = {"condition": self.condition}
        if says := self.notification:
            of = msgspec.structs.asdict(says.recipient)
            found |= {f"notification.recipient.{name}": path for name, path in of.items()}
            found |= {f"notification.variables.{name}": path for name, path in says.variables.items()}
            found["notification.schedule.at"] = says.schedule.at if says.schedule else None
        if tells := self.webhook:
            found |= {"webhook.data": tells.data, "webhook.organization": tells.organization}
        return {place: path for place, path in found.items() if path is not None}


class Mapping(msgspec.Struct, frozen=True):
    """A mapping by its name. `version` counts how often it was written; 0: it is the house's."""

    name: str
    version: int
    terms: MappingTerms
    written_at: datetime | None = None
    by: str | None = None


def is_mapping_name(name: str) -> bool:
    """Lower case words and figures joined by hyphens or underscores."""
    return len(name) <= 100 and _NAME.fullmatch(name) is not None


class Mappings(Aggregate):
    """One tenant's own, all in one stream, so that a single look says whether any has changed."""

    class Event(Aggregate.Event):
        tenant: str
        by: str

    class Begun(Event, Aggregate.Created):
        TOPIC = "mappings.begun"

    class Written(Event):
        TOPIC = "mappings.written"

        name: str
        number: int
        terms: MappingTerms

        def apply(self, mappings: "Mappings") -> None:
            mappings.kept[self.name] = Mapping(self.name, self.number, self.terms, self.timestamp, self.by)
            mappings.numbers[self.name] = self.number

    class Removed(Event):
        """From now on the house's counts again, if it has one of this name."""

        TOPIC = "mappings.removed"

        name: str

        def apply(self, mappings: "Mappings") -> None:
            del mappings.kept[self.name]

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.kept: dict[str, Mapping] = {}
        self.numbers: dict[str, int] = {}

    @classmethod
    def begin(cls, tenant: str, *, now: datetime, by: str) -> "Mappings":
        return cls._create(cls.Begun, id=mappings_id(tenant), timestamp=now, tenant=tenant, by=by)

    def write(self, name: str, terms: MappingTerms, *, now: datetime, by: str) -> Mapping:
        """The mapping as it is from now on; the same again changes nothing. Raises TooManyMappingsError."""
        known = self.kept.get(name)
        if known is None or known.terms != terms:
            if known is None and len(self.kept) >= MOST_MAPPINGS:
                raise TooManyMappingsError(f"you have {MOST_MAPPINGS} mappings")
            if self.version >= MOST_CHANGES:
                raise TooManyMappingsError(f"your mappings were changed {MOST_CHANGES} times")
            number = self.numbers.get(name, 0) + 1
            self.trigger_event(
                self.Written, timestamp=now, tenant=self.tenant, by=by, name=name, number=number, terms=terms
            )
        return self.kept[name]

    def remove(self, name: str, *, now: datetime, by: str) -> None:
        """There is always room for this."""
        if name in self.kept:
            self.trigger_event(self.Removed, timestamp=now, tenant=self.tenant, by=by, name=name)
