"""The list of notifications and each one's detail."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from application.ports.log import Recorded
from application.projections.projection import Projection
from domain.notification import Notification
from domain.personal import Envelope, Letter, Remark
from domain.standing import follow, reason_of, status_of
from domain.vocabulary import Channel, Priority, Purpose, Reason, Status


class NotificationRow(msgspec.Struct, kw_only=True):
    """One notification as its readers see it. `status` and `reason` follow from the facts below them."""

    id: UUID
    tenant: str
    request: UUID
    type: str
    channel: Channel
    category: str
    purpose: Purpose
    priority: Priority
    template: str | None
    template_version: str | None
    locale: str
    recipient: str | None
    recipient_name: str | None
    recipient_user_id: str | None
    subject: str | None = None
    content_preview: str | None = None
    status: Status = Status.PENDING
    reason_code: Reason | None = None
    provider: str | None = None
    provider_id: str | None = None
    provider_response: str | None = None
    error_message: str | None = None
    retry_count: int = 0
    created_at: datetime
    scheduled_at: datetime | None
    expires_at: datetime | None
    next_attempt_at: datetime | None = None
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    bounced_at: datetime | None = None
    opened_at: datetime | None = None
    clicked_at: datetime | None = None
    complained_at: datetime | None = None
    updated_at: datetime
    cost: Decimal | None = None
    digest_id: UUID | None = None
    members: list[UUID] | None = None
    context: dict[str, Any]
    position: int

    ended: Status | None = None
    reason: Reason | None = None
    deferred_for: Reason | None = None
    rejected_at: datetime | None = None
    bounce_reason: Reason | None = None
    generation: int = 1


class Notifications(Projection[NotificationRow]):
    """One row per notification."""

    name = "notifications"
    topics: Sequence[str] = ()
    begins: Sequence[str] = (Notification.Queued.TOPIC,)
    row = NotificationRow
    key_columns = ("id",)
    personal = True
    indexes: Mapping[str, str] = MappingProxyType(
        {
            "newest": "(tenant, id DESC)",
            "by_status": "(tenant, status, id DESC)",
            "by_recipient": "(tenant, recipient, id DESC)",
            "by_user": "(tenant, recipient_user_id, id DESC) WHERE recipient_user_id IS NOT NULL",
            "by_provider_id": "(provider_id) WHERE provider_id IS NOT NULL",
        }
    )

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        event = recorded.event
        return [(event.originator_id,)] if isinstance(event, Notification.Event) else []

    def fold(self, key: tuple[Any, ...], row: NotificationRow | None, recorded: Recorded) -> NotificationRow:
        event = recorded.event
        if isinstance(event, Notification.Queued):
            row = _queued(event, recorded.position)
        else:
            assert row is not None
            _apply(row, event)
        row.updated_at, row.position = event.timestamp, recorded.position
        return row

    def concluded(self, row: NotificationRow) -> NotificationRow:
        row.status = status_of(row)
        row.reason_code = reason_of(row, row.status)
        if row.status not in (Status.PENDING, Status.DEFERRED):
            row.next_attempt_at = None
        return row


def _queued(event: Any, position: int) -> NotificationRow:
    letter = event.personal if isinstance(event.personal, Letter) else None
    later = event.due_at > event.timestamp
    return NotificationRow(
        id=event.originator_id,
        tenant=event.tenant,
        request=event.request,
        type=event.type,
        channel=event.channel,
        category=event.category,
        purpose=event.purpose,
        priority=event.priority,
        template=event.template.name if event.template else None,
        template_version=event.template.version if event.template else None,
        locale=event.locale,
        recipient=letter.address if letter else None,
        recipient_name=letter.name if letter else None,
        recipient_user_id=event.recipient_user_id,
        created_at=event.timestamp,
        scheduled_at=event.due_at if later else None,
        expires_at=event.expires_at,
        next_attempt_at=event.due_at,
        updated_at=event.timestamp,
        context={
            "source": event.source,
            "correlation_id": event.correlation_id,
            "metadata": letter.metadata if letter else {},
        },
        deferred_for=Reason.SCHEDULED if later else None,
        members=list(event.members) if event.members else None,
        position=position,
    )


def _apply(row: NotificationRow, event: Any) -> None:
    """What happens to every notification comes first: each case is asked in turn."""
    match event:
        case Notification.Rendered():
            row.provider, row.deferred_for, row.next_attempt_at = event.provider, None, None
            if isinstance(event.personal, Envelope):
                row.subject, row.content_preview = event.personal.subject, event.personal.preview
        case Notification.Sent():
            row.sent_at, row.provider, row.provider_id = event.timestamp, event.provider, event.provider_id
            row.cost = _sum(row.cost, event.cost)
        case Notification.Delivered():
            row.delivered_at = event.occurred_at
        case Notification.Failed():
            row.error_message = _words(event.personal) or event.reason.value
            row.provider_response = _words(event.personal)
        case Notification.Deferred():
            row.deferred_for, row.next_attempt_at = event.reason, event.until
            row.provider_response, row.digest_id = _words(event.personal), None
        case Notification.Retried():
            row.next_attempt_at = event.due_at
            row.retry_count += 1
            if event.generation > row.generation:
                _start_over(row, event.generation)
        case Notification.DeadLettered():
            row.ended, row.reason = Status.FAILED, event.reason
        case Notification.Suppressed():
            row.ended, row.reason = Status.SUPPRESSED, event.reason
        case Notification.Cancelled():
            row.ended, row.reason = Status.CANCELLED, event.reason
        case Notification.Expired():
            row.ended, row.reason = Status.EXPIRED, event.reason
        case Notification.Bounced():
            row.bounced_at = min(row.bounced_at or event.occurred_at, event.occurred_at)
            if row.bounce_reason is not Reason.HARD_BOUNCE:
                row.bounce_reason = event.reason
            row.error_message = _words(event.personal) or event.reason.value
        case Notification.Rejected():
            row.rejected_at = event.occurred_at
            row.error_message = _words(event.personal) or Reason.PROVIDER_REJECTED_LATER.value
        case Notification.Opened():
            row.opened_at = event.occurred_at
        case Notification.Clicked():
            row.clicked_at = event.occurred_at
        case Notification.Complained():
            row.complained_at = event.occurred_at
        case Notification.Merged():
            row.digest_id, row.next_attempt_at = event.into, None
        case Notification.Followed():
            follow(row, event)


def _start_over(row: NotificationRow, generation: int) -> None:
    row.generation = generation
    row.provider = row.provider_id = row.deferred_for = row.ended = row.reason = row.bounce_reason = None
    row.sent_at = row.delivered_at = row.bounced_at = row.rejected_at = None
    row.opened_at = row.clicked_at = row.complained_at = row.expires_at = row.digest_id = None


def _words(personal: Any) -> str | None:
    return personal.text if isinstance(personal, Remark) else None


def _sum(known: Decimal | None, more: Decimal | None) -> Decimal | None:
    return known if more is None else (known or Decimal(0)) + more
