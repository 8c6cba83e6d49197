"""A record of Kafka that could not become what it should: set aside, so that what comes after it goes on."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate

from domain.ids import record_id
from domain.personal import Erased, RecordBody


class ParkReason(StrEnum):
    """Why a record was set aside. Callers see them, so none is ever renamed."""

    UNREADABLE = "unreadable"
    """Its bytes are not what Kafka stored, or not what it could be."""

    TOO_LARGE = "too_large"
    """It is larger than a request may be."""

    NOT_JSON = "not_json"
    """Its value is not JSON in UTF-8."""

    TOO_DEEP = "too_deep"
    """It is nested too deeply, or holds what cannot be stored."""

    NO_EVENT = "no_event"
    """It is JSON, but no envelope that is known."""

    NO_TENANT = "no_tenant"
    """It does not say whose it is."""

    UNKNOWN_TENANT = "unknown_tenant"
    """There is no tenant of this name."""

    INVALID = "invalid"
    """What a mapping makes of it cannot be accepted: something is missing, or of another kind."""

    TOO_COSTLY = "too_costly"
    """To find what a mapping asks for takes more than it may."""

    UNAVAILABLE = "unavailable"
    """What is needed to check it could not be had, several times."""

    FAILED = "failed"
    """Our own mistake, which the log of the process tells more of."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a record stands; `timestamp` is the topic's own, in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp: int

    @property
    def id(self) -> UUID:
        return record_id(self.topic, self.partition, self.offset, self.timestamp)


class ParkedRecord(Aggregate):
    """Its stream is named by the record's place, so that what is delivered twice is parked once."""

    class Event(Aggregate.Event):
        tenant: str
        by: str

    class Parked(Event, Aggregate.Created):
        """`tenant` is who looks after it, nobody where that is empty; `said_tenant` is what the record says.

        `complete`: whether all of the record is kept, so that it can be replayed.
        """

        TOPIC = "record.parked"

        origin: Origin
        reason: ParkReason
        size: int
        complete: bool
        said_tenant: str | None
        event_id: str | None
        event_type: str | None
        mappings: tuple[str, ...]
        personal: RecordBody | Erased

    class Replayed(Event):
        """`became` is the ids of what it became; none where no mapping wants it any more."""

        TOPIC = "record.replayed"

        became: tuple[str, ...]

        def apply(self, record: "ParkedRecord") -> None:
            record.replayed = True

    class Discarded(Event):
        """Its content is erased for good."""

        TOPIC = "record.discarded"

        def apply(self, record: "ParkedRecord") -> None:
            record.discarded = True

    def __init__(
        self,
        tenant: str,
        origin: Origin,
        reason: ParkReason,
        size: int,
        complete: bool,
        said_tenant: str | None,
        event_id: str | None,
        event_type: str | None,
        mappings: tuple[str, ...],
        personal: RecordBody | Erased,
    ) -> None:
        self.tenant = tenant
        self.origin = origin
        self.reason = reason
        self.size = size
        self.complete = complete
        self.said_tenant = said_tenant
        self.event_id = event_id
        self.event_type = event_type
        self.mappings = mappings
        self.body = personal
        self.replayed = False
        self.discarded = False

    @classmethod
    def park(
        cls,
        tenant: str,
        origin: Origin,
        reason: ParkReason,
        body: RecordBody,
        *,
        size: int,
        complete: bool,
        said_tenant: str | None,
        event_id: str | None,
        event_type: str | None,
        mappings: tuple[str, ...],
        now: datetime,
        by: str,
    ) -> "ParkedRecord":
        return cls._create(
            cls.Parked,
            id=origin.id,
            timestamp=now,
            tenant=tenant,
            by=by,
            origin=origin,
            reason=reason,
            size=size,
            complete=complete,
            said_tenant=said_tenant,
            event_id=event_id,
            event_type=event_type,
            mappings=mappings,
            personal=body,
        )

    def replay(self, became: tuple[str, ...], *, now: datetime, by: str) -> None:
        self.trigger_event(self.Replayed, timestamp=now, tenant=self.tenant, by=by, became=became)

    def discard(self, *, now: datetime, by: str) -> None:
        if not self.discarded:
            self.trigger_event(self.Discarded, timestamp=now, tenant=self.tenant, by=by)
