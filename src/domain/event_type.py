"""A kind of event that a tenant tells of, as it is described to those who receive it."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate

from domain.ids import event_type_id


class EventTypeTerms(msgspec.Struct, frozen=True, kw_only=True):
    """`schema` is a JSON Schema of `data`, which has to fit it where it is `checked`.

    `deprecated` says what to use instead; None: it is not deprecated.
    """

    description: str
    schema: dict[str, Any] | None
    example: dict[str, Any] | None
    deprecated: str | None
    checked: bool


class EventType(Aggregate):
    """One type of one tenant, for ever one stream: who removes it may describe it again."""

    class Event(Aggregate.Event):
        tenant: str
        by: str

    class Described(Event, Aggregate.Created):
        TOPIC = "event_type.described"

        name: str
        terms: EventTypeTerms

    class Changed(Event):
        TOPIC = "event_type.changed"

        name: str
        terms: EventTypeTerms

        def apply(self, type: "EventType") -> None:
            type.terms, type.removed = self.terms, False

    class Removed(Event):
        TOPIC = "event_type.removed"

        name: str

        def apply(self, type: "EventType") -> None:
            type.removed = True

    def __init__(self, tenant: str, name: str, terms: EventTypeTerms) -> None:
        self.tenant = tenant
        self.name = name
        self.terms = terms
        self.removed = False

    @classmethod
    def describe(cls, tenant: str, name: str, terms: EventTypeTerms, *, now: datetime, by: str) -> "EventType":
        id: UUID = event_type_id(tenant, name)
        return cls._create(cls.Described, id=id, timestamp=now, tenant=tenant, by=by, name=name, terms=terms)

    def change(self, terms: EventTypeTerms, *, now: datetime, by: str) -> None:
        """Nothing of the old terms is left; the same again changes nothing."""
        if self.removed or terms != self.terms:
            self.trigger_event(self.Changed, timestamp=now, tenant=self.tenant, by=by, name=self.name, terms=terms)

    def remove(self, *, now: datetime, by: str) -> None:
        if not self.removed:
            self.trigger_event(self.Removed, timestamp=now, tenant=self.tenant, by=by, name=self.name)
