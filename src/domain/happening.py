"""What a service told us happened, kept for ever as a stream of one event."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate

from domain.ids import happening_id
from domain.personal import Erased, Payload


class Addressed(msgspec.Struct, frozen=True):
    """That a happening goes to one subscription, as this notification."""

    subscription: UUID
    notification: UUID


class Happening(Aggregate):
    """The log's primary key on its stream is what makes the same event happen only once."""

    class Told(Aggregate.Created):
        """`says_organization`: whether receivers are told of it; what was told before never says it."""

        TOPIC = "happening.told"

        tenant: str
        by: str
        event_id: str
        type: str
        organization: str | None
        occurred_at: datetime
        deliveries: tuple[Addressed, ...]
        personal: Payload | Erased
        says_organization: bool | None = None

    def __init__(
        self,
        tenant: str,
        event_id: str,
        type: str,
        organization: str | None,
        occurred_at: datetime,
        deliveries: tuple[Addressed, ...],
        personal: Payload | Erased,
        says_organization: bool | None = None,
    ) -> None:
        self.tenant = tenant
        self.event_id = event_id
        self.type = type
        self.organization = organization
        self.occurred_at = occurred_at
        self.deliveries = deliveries
        self.payload = personal
        self.says_organization = says_organization

    @classmethod
    def tell(
        cls,
        tenant: str,
        event_id: str,
        type: str,
        organization: str | None,
        payload: Payload,
        deliveries: Sequence[Addressed],
        *,
        occurred_at: datetime,
        now: datetime,
        by: str,
    ) -> "Happening":
        """Keep what happened and whom it goes to, if anybody."""
        return cls._create(
            cls.Told,
            id=happening_id(tenant, event_id),
            timestamp=now,
            tenant=tenant,
            by=by,
            event_id=event_id,
            type=type,
            organization=organization,
            occurred_at=occurred_at,
            deliveries=tuple(deliveries),
            personal=payload,
            says_organization=True,
        )
