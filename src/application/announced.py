"""What other systems are told of notifications: events of the log as CloudEvents 1.0, without personal data."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID

import msgspec
from msgspec import Meta

from application.ports.publishing import Announcement
from domain.notification import Notification
from domain.notification_events import Event
from domain.personal import Letter
from domain.vocabulary import Channel, Priority, Purpose, Reason, Status

_FACTS: Mapping[type[Event], str] = {
    Notification.Queued: "queued",
    Notification.Deferred: "deferred",
    Notification.Merged: "merged",
    Notification.Sent: "sent",
    Notification.Failed: "attempt_failed",
    Notification.Retried: "retried",
    Notification.DeadLettered: "failed",
    Notification.Suppressed: "suppressed",
    Notification.Cancelled: "cancelled",
    Notification.Expired: "expired",
    Notification.Delivered: "delivered",
    Notification.Bounced: "bounced",
    Notification.Rejected: "rejected",
    Notification.Opened: "opened",
    Notification.Clicked: "clicked",
    Notification.Complained: "complained",
}
"""What each event is called outside, behind its channel. Others rely on the names, so none is ever changed."""

_BECAME: Mapping[Status, str] = {
    Status.SENT: "sent",
    Status.DELIVERED: "delivered",
    Status.BOUNCED: "bounced",
    Status.FAILED: "failed",
    Status.SUPPRESSED: "suppressed",
    Status.CANCELLED: "cancelled",
    Status.EXPIRED: "expired",
}
"""The same names for what became of a message with the digest that it is in. While that waits there is no news."""

UNTOLD = frozenset({Notification.Rendered, Notification.StandingChanged})
"""What is nobody's business but ours: the intent to call a provider, and what those in a digest are told by."""

_Moment = Annotated[datetime, Meta(tz=True)]

TOPICS: tuple[str, ...] = tuple(kind.TOPIC for kind in (*_FACTS, Notification.Followed))  # type: ignore[attr-defined]
FACTS: tuple[str, ...] = tuple(_FACTS.values())


class Recipient(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom it goes to. Only where the tenant asks for personal data, and not once that person was forgotten."""

    user_id: str | None = None
    address: str | None = None
    name: str | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened to one notification. What does not apply is left out."""

    notification_id: UUID
    tenant_id: str
    channel: Channel
    type: Annotated[str, Meta(description="What it says, such as welcome; of a webhook the type of its event")]
    category: str
    purpose: Purpose
    priority: Priority
    request_id: Annotated[UUID, Meta(description="The send it was accepted with")]
    source: Annotated[str | None, Meta(description="`context.source` of the send")] = None
    correlation_id: Annotated[str | None, Meta(description="`context.correlation_id` of the send")] = None
    webhook_id: Annotated[UUID | None, Meta(description="Of a webhook: the subscription")] = None
    provider: str | None = None
    provider_id: Annotated[str | None, Meta(description="The provider's own id of the message")] = None
    attempt: Annotated[int | None, Meta(description="attempt_failed: its number")] = None
    generation: Annotated[int | None, Meta(description="retried: greater than 1 after a retry by hand")] = None
    reason: Annotated[str | None, Meta(description="Why, by a code as the API shows; there may be more one day")] = None
    digest_id: Annotated[UUID | None, Meta(description="The digest that it goes, or has gone, with")] = None
    due_at: Annotated[_Moment | None, Meta(description="queued, deferred, retried: not before this moment")] = None
    occurred_at: Annotated[_Moment | None, Meta(description="When it was so, by the provider's word")] = None
    milliseconds: Annotated[float | None, Meta(description="Of a webhook: how long the receiver took")] = None
    cost: Decimal | None = None
    recipient: Recipient | None = None


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """In the JSON format, structured mode. The same event has the same `id` however often it is told."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(description="The notification and the number of the event in its life")]
    source: Annotated[str, Meta(description="urn:carillon: and the tenant")]
    type: Annotated[str, Meta(description="The channel and what happened, such as email.sent")]
    subject: Annotated[str, Meta(description="The notification; also the key of the record")]
    time: Annotated[datetime, Meta(tz=True)]
    datacontenttype: Literal["application/json"]
    data: Facts


class Origin(msgspec.Struct, frozen=True):
    """What the first event of a notification says of all that follow."""

    category: str
    purpose: Purpose
    priority: Priority
    request: UUID
    source: str | None
    correlation_id: str | None
    subscription: UUID | None
    recipient_user_id: str | None


def origin_of(queued: Any) -> Origin:
    return Origin(*(getattr(queued, field) for field in Origin.__struct_fields__))


def is_told(event: Any) -> bool:
    """What could not even be made was no attempt; that it failed is told all the same."""
    match event:
        case Notification.Failed():
            return event.call > 0
        case Notification.Followed():
            return event.status in _BECAME
    return True


def _fact(event: Any) -> str:
    if not isinstance(event, Notification.Followed):
        return _FACTS[type(event)]
    return "rejected" if event.reason is Reason.PROVIDER_REJECTED_LATER else _BECAME[event.status]


def announcement(event: Any, origin: Origin, letter: Letter | None) -> Announcement:
    """Of an event of these TOPICS. Personal is what the `letter` says, and nothing else."""
    cloud_event = _cloud_event(event, origin, letter)
    return Announcement(cloud_event.id, cloud_event.subject, msgspec.json.encode(cloud_event))


def _cloud_event(event: Any, origin: Origin, letter: Letter | None) -> CloudEvent:
    id = str(event.originator_id)
    return CloudEvent(
        specversion="1.0",
        id=f"{id}/{event.originator_version}",
        source=f"urn:carillon:{quote(event.tenant, safe='')}",
        type=f"{event.channel}.{_fact(event)}",
        subject=id,
        time=event.timestamp,
        datacontenttype="application/json",
        data=Facts(
            notification_id=event.originator_id,
            tenant_id=event.tenant,
            channel=event.channel,
            type=event.type,
            category=origin.category,
            purpose=origin.purpose,
            priority=origin.priority,
            request_id=origin.request,
            source=origin.source,
            correlation_id=origin.correlation_id,
            webhook_id=origin.subscription,
            recipient=_recipient(origin, letter) if letter else None,
            **_told_of(event),
        ),
    )


def _recipient(origin: Origin, letter: Letter) -> Recipient:
    return Recipient(user_id=origin.recipient_user_id, address=letter.address, name=letter.name)


def _told_of(event: Any) -> dict[str, Any]:
    match event:
        case Notification.Queued():
            return {"due_at": event.due_at}
        case Notification.Deferred():
            return {"provider": event.provider, "reason": event.reason, "due_at": event.until}
        case Notification.Merged():
            return {"digest_id": event.into}
        case Notification.Followed():
            when = {Status.DELIVERED: event.delivered_at, Status.BOUNCED: event.bounced_at}.get(event.status)
            return {"digest_id": event.digest_id, "reason": event.reason, "occurred_at": when}
        case Notification.Sent():
            return {name: getattr(event, name) for name in ("provider", "provider_id", "cost", "milliseconds")}
        case Notification.Failed():
            return {name: getattr(event, name) for name in ("provider", "attempt", "reason", "milliseconds")}
        case Notification.Retried():
            return {"generation": event.generation, "reason": event.reason, "due_at": event.due_at}
        case Notification.Bounced():
            return {name: getattr(event, name) for name in ("provider", "reason", "occurred_at")}
        case (
            Notification.Delivered()
            | Notification.Rejected()
            | Notification.Opened()
            | Notification.Clicked()
            | Notification.Complained()
        ):
            return {"provider": event.provider, "occurred_at": event.occurred_at}
        case _:
            return {"reason": event.reason}
