"""Reading notifications back."""

from datetime import datetime
from typing import Annotated, Protocol
from uuid import UUID

import msgspec
from msgspec import Meta

from application.projections.attempts import AttemptRow
from application.projections.metrics import MetricTotal
from application.projections.notifications import NotificationRow
from domain.vocabulary import Channel, Reason, Status


class ListNotifications(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. `before` is the id that the last page ended with."""

    status: Status | None = None
    channel: Channel | None = None
    type: str | None = None
    recipient: str | None = None
    recipient_user_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class DeliveryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to GetDeliveryStatus: where it stands and every call that was made for it."""

    id: UUID
    status: Status
    reason_code: Reason | None
    provider: str | None
    provider_id: str | None
    retry_count: int
    next_attempt_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    bounced_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    complained_at: datetime | None
    attempts: list[AttemptRow]


class NotificationReader(Protocol):
    """What the read models answer. Every question is asked for one tenant; another tenant's rows do not exist."""

    async def get(self, tenant: str, id: UUID) -> NotificationRow | None: ...

    async def attempts(self, tenant: str, id: UUID) -> list[AttemptRow]: ...

    async def page(self, tenant: str, query: ListNotifications) -> list[NotificationRow]: ...

    async def totals(self) -> list[MetricTotal]:
        """Over all tenants, for the operator."""

    async def positions(self) -> dict[str, int]:
        """How far each read model has followed the log."""


def delivery_status(row: NotificationRow, attempts: list[AttemptRow]) -> DeliveryStatus:
    named = {name: getattr(row, name) for name in DeliveryStatus.__struct_fields__ if name != "attempts"}
    return DeliveryStatus(**named, attempts=attempts)
