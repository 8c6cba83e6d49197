"""That something was said to somebody: the stream of one content, by which the same is not said twice."""

from datetime import datetime, timedelta
from uuid import UUID

from eventsourcing.domain import Aggregate

from domain.ids import saying_id


class Saying(Aggregate):
    """It knows its content by a keyed digest. Who says it for the first time, or once more, adds to one stream, so
    that of two at the same moment the log lets one through."""

    class Event(Aggregate.Event):
        tenant: str
        notification: UUID
        by: str

    class Begun(Event, Aggregate.Created):
        TOPIC = "saying.begun"

    class Renewed(Event):
        TOPIC = "saying.renewed"

        def apply(self, saying: "Saying") -> None:
            saying.notification, saying.at = self.notification, self.timestamp

    def __init__(self, tenant: str, notification: UUID) -> None:
        self.tenant = tenant
        self.notification = notification
        self.at: datetime = self.created_on

    @classmethod
    def begin(cls, tenant: str, digest: str, notification: UUID, *, now: datetime, by: str) -> "Saying":
        """Said for the first time, by this notification."""
        return cls._create(
            cls.Begun, id=saying_id(tenant, digest), timestamp=now, tenant=tenant, notification=notification, by=by
        )

    def renew(self, notification: UUID, *, now: datetime, by: str) -> None:
        """Said once more, by this one, which is the first from now on."""
        self.trigger_event(self.Renewed, timestamp=now, tenant=self.tenant, notification=notification, by=by)

    def holds(self, window: timedelta, now: datetime) -> bool:
        """Whether it was said within this window."""
        return now - self.at < window
