"""What callers are shown of a notification."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from application.ports.log import Recorded
from application.projections.notifications import NotificationRow
from domain.personal import Envelope, Letter, Remark
from domain.vocabulary import Channel, Priority, Purpose, Reason, Status

_MASK = "•••"
_TOLD_OTHERWISE = {"originator_id", "originator_version", "originator_topic", "timestamp", "by", "tenant", "personal"}
_NOT_SHOWN = _TOLD_OTHERWISE | {"digest"}
"""The digest of a message too: whoever knows all of it but a short code could find that by trying."""
_OF_ENDPOINT = {"url", "response"}
"""Where a webhook went and what was said there, which only those know who may see its subscription."""


class NotificationDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A notification as its tenant sees it.

    One that went out in a digest has its `digest_id`, and stands as that does; a digest has `members`.
    """

    id: UUID
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
    subject: str | None
    content_preview: str | None
    status: Status
    reason_code: Reason | None
    provider: str | None
    provider_id: str | None
    provider_response: str | None
    error_message: str | None
    retry_count: int
    created_at: datetime
    scheduled_at: datetime | None
    expires_at: datetime | None
    next_attempt_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    bounced_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    complained_at: datetime | None
    updated_at: datetime
    cost: Decimal | None
    digest_id: UUID | None
    members: list[UUID] | None
    context: dict[str, Any]
    position: int


class NotificationPage(msgspec.Struct, frozen=True):
    notifications: list[NotificationDetail]
    next_cursor: str | None


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the log: where it stands, when it happened, who caused it, and what it says."""

    position: int
    version: int
    event: str
    at: datetime
    by: str
    data: dict[str, Any]
    personal: dict[str, Any] | None


def detail(row: NotificationRow) -> NotificationDetail:
    return NotificationDetail(**{name: getattr(row, name) for name in NotificationDetail.__struct_fields__})


def audit_event(recorded: Recorded, *, endpoint: bool = True) -> AuditEvent:
    """Variables that were secret when they were accepted are masked; of a webhook's `endpoint` nothing need be told."""
    event: Any = recorded.event
    return AuditEvent(
        position=recorded.position,
        version=event.originator_version,
        event=type(event).TOPIC,
        at=event.timestamp,
        by=event.by,
        data={name: value for name, value in vars(event).items() if name not in _NOT_SHOWN},
        personal=_shown(getattr(event, "personal", None), getattr(event, "secrets", ()), endpoint),
    )


def _shown(personal: Any, secrets: Collection[str], endpoint: bool) -> dict[str, Any] | None:
    if personal is None:
        return None
    shown: dict[str, Any] = msgspec.structs.asdict(personal)
    shown.pop("person")
    shown.pop("unsubscribe_url", None)  # it is the reader's, who need not be asked for anything else
    if not endpoint and isinstance(personal, Envelope | Remark):
        shown = {name: value for name, value in shown.items() if name not in _OF_ENDPOINT}
    if isinstance(personal, Letter):
        shown["variables"] = {n: _MASK if n in secrets else v for n, v in personal.variables.items()}
    return shown or {"erased": True}
