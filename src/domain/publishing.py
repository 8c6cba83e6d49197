"""What a tenant wants other systems to be told of its notifications."""

from datetime import datetime

from eventsourcing.domain import Aggregate

from domain.ids import publishing_id


class Publishing(Aggregate):
    """One stream for each tenant that ever chose; for all others nothing personal is told."""

    class Event(Aggregate.Event):
        tenant: str
        by: str

    class Chosen(Event, Aggregate.Created):
        TOPIC = "publishing.chosen"

        personal_data: bool

    class Changed(Event):
        TOPIC = "publishing.changed"

        personal_data: bool

        def apply(self, publishing: "Publishing") -> None:
            publishing.personal_data = self.personal_data

    def __init__(self, tenant: str, personal_data: bool) -> None:
        self.tenant = tenant
        self.personal_data = personal_data

    @classmethod
    def choose(cls, tenant: str, personal_data: bool, *, now: datetime, by: str) -> "Publishing":
        return cls._create(
            cls.Chosen, id=publishing_id(tenant), timestamp=now, tenant=tenant, by=by, personal_data=personal_data
        )

    def change(self, personal_data: bool, *, now: datetime, by: str) -> None:
        """The same again changes nothing."""
        if personal_data != self.personal_data:
            self.trigger_event(self.Changed, timestamp=now, tenant=self.tenant, by=by, personal_data=personal_data)
