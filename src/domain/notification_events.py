"""What can happen to a notification, and what each of these makes of it."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate

from domain.mailbox import Mailbox
from domain.personal import Envelope, Erased, Letter, Remark
from domain.standing import follow
from domain.template import TemplatePin
from domain.vocabulary import Channel, Priority, Purpose, Reason, Status

if TYPE_CHECKING:
    from domain.notification import Notification


class Attempt(msgspec.Struct, frozen=True):
    """One call to a provider: its number in the notification's life, whether it has counted, and what made it safe."""

    call: int
    number: int
    provider: str
    started_at: datetime
    key: str | None
    key_until: datetime | None


class Event(Aggregate.Event):
    """Every event says whose it is, what it is about and who caused it: a reader of the log needs no other."""

    tenant: str
    channel: Channel
    type: str
    by: str


class Queued(Event, Aggregate.Created):
    TOPIC = "notification.queued"

    category: str
    purpose: Purpose
    priority: Priority
    request: UUID
    recipient_user_id: str | None
    locale: str
    time_zone: str | None
    template: TemplatePin | None
    due_at: datetime
    expires_at: datetime | None
    source: str | None
    correlation_id: str | None
    secrets: tuple[str, ...]
    personal: Letter | Erased
    subscription: UUID | None = None
    happening: UUID | None = None
    members: tuple[UUID, ...] | None = None


class Deferred(Event):
    """`bundle` is what it is to be gathered with: all that have the same wait for one digest."""

    TOPIC = "notification.deferred"

    reason: Reason
    until: datetime
    provider: str | None
    call: int
    personal: Remark | Erased | None
    limit: str | None = None
    bundle: UUID | None = None

    def apply(self, notification: "Notification") -> None:
        notification.in_flight = None
        notification.deferred_for = self.reason
        notification.limited_by = self.limit
        notification.places += self.limit is not None
        notification.due_at = self.until
        notification.bundle = self.bundle
        notification.digest_id = None


class Rendered(Event):
    """The intent: recorded before the provider is called, so that a crash leaves a trace of the call."""

    TOPIC = "notification.rendered"

    call: int
    attempt: int
    generation: int
    provider: str
    key: str | None
    key_until: datetime | None
    sender: Mailbox | None
    reply_to: Mailbox | None
    digest: str
    personal: Envelope | Erased

    def apply(self, notification: "Notification") -> None:
        notification.in_flight = Attempt(
            self.call, self.attempt, self.provider, self.timestamp, self.key, self.key_until
        )
        notification.calls = self.call
        notification.provider = self.provider
        notification.key_until = self.key_until
        notification.sender, notification.reply_to = self.sender, self.reply_to
        notification.deferred_for = notification.bundle = None


class Sent(Event):
    TOPIC = "notification.sent"

    call: int
    provider: str
    provider_id: str | None
    cost: Decimal | None
    queued_at: datetime
    personal: Remark | Erased | None = None
    subscription: UUID | None = None
    milliseconds: float | None = None

    def apply(self, notification: "Notification") -> None:
        notification.in_flight = None
        notification.provider = self.provider
        notification.provider_id = self.provider_id
        notification.sent_at = self.timestamp


class Failed(Event):
    TOPIC = "notification.failed"

    call: int
    attempt: int
    provider: str | None
    reason: Reason
    uncertain: bool
    personal: Remark | Erased | None
    subscription: UUID | None = None
    milliseconds: float | None = None

    def apply(self, notification: "Notification") -> None:
        notification.in_flight = None
        notification.attempts = self.attempt
        notification.may_have_gone_out |= self.uncertain


class Retried(Event):
    TOPIC = "notification.retried"

    generation: int
    due_at: datetime
    reason: Reason

    def apply(self, notification: "Notification") -> None:
        if self.generation > notification.generation:
            _start_over(notification)
        notification.generation = self.generation
        notification.due_at = self.due_at


class DeadLettered(Event):
    TOPIC = "notification.dead_lettered"

    reason: Reason

    def apply(self, notification: "Notification") -> None:
        notification.ended, notification.reason = Status.FAILED, self.reason


class Suppressed(Event):
    TOPIC = "notification.suppressed"

    reason: Reason
    limit: str | None = None
    duplicate_of: UUID | None = None

    def apply(self, notification: "Notification") -> None:
        notification.duplicate_of = self.duplicate_of
        notification.ended, notification.reason = Status.SUPPRESSED, self.reason


class Cancelled(Event):
    TOPIC = "notification.cancelled"

    reason: Reason

    def apply(self, notification: "Notification") -> None:
        notification.ended, notification.reason = Status.CANCELLED, self.reason


class Expired(Event):
    TOPIC = "notification.expired"

    reason: Reason

    def apply(self, notification: "Notification") -> None:
        notification.ended, notification.reason = Status.EXPIRED, self.reason


class Merged(Event):
    """From now on it goes, or does not go, with the digest that it is in."""

    TOPIC = "notification.merged"

    into: UUID

    def apply(self, notification: "Notification") -> None:
        notification.digest_id = self.into


class StandingChanged(Event):
    """Only digests say this, so that whoever looks after their members need not look at everybody."""

    TOPIC = "notification.standing_changed"

    status: Status
    reason: Reason | None

    def apply(self, notification: "Notification") -> None:
        notification.told = notification.standing


class Followed(Event):
    """What became of the digest that it is in became of it."""

    TOPIC = "notification.followed"

    digest_id: UUID
    status: Status
    reason: Reason | None
    sent_at: datetime | None
    delivered_at: datetime | None
    bounced_at: datetime | None

    def apply(self, notification: "Notification") -> None:
        follow(notification, self)


class Delivered(Event):
    TOPIC = "notification.delivered"

    provider: str
    occurred_at: datetime
    queued_at: datetime

    def apply(self, notification: "Notification") -> None:
        notification.delivered_at = self.occurred_at


class Bounced(Event):
    TOPIC = "notification.bounced"

    provider: str
    occurred_at: datetime
    reason: Reason
    personal: Remark | Erased | None

    def apply(self, notification: "Notification") -> None:
        notification.bounced_at = min(notification.bounced_at or self.occurred_at, self.occurred_at)
        if notification.bounce_reason is not Reason.HARD_BOUNCE:
            notification.bounce_reason = self.reason


class Rejected(Event):
    """The provider took it and later gave up without trying."""

    TOPIC = "notification.rejected"

    provider: str
    occurred_at: datetime
    personal: Remark | Erased | None

    def apply(self, notification: "Notification") -> None:
        notification.rejected_at = self.occurred_at


class Opened(Event):
    TOPIC = "notification.opened"

    provider: str
    occurred_at: datetime

    def apply(self, notification: "Notification") -> None:
        notification.opened_at = self.occurred_at


class Clicked(Event):
    TOPIC = "notification.clicked"

    provider: str
    occurred_at: datetime

    def apply(self, notification: "Notification") -> None:
        notification.clicked_at = self.occurred_at


class Complained(Event):
    TOPIC = "notification.complained"

    provider: str
    occurred_at: datetime

    def apply(self, notification: "Notification") -> None:
        notification.complained_at = self.occurred_at


def _start_over(notification: "Notification") -> None:
    if notification.provider_id:
        notification.earlier_provider_ids |= {notification.provider_id}
    notification.attempts = notification.places = 0
    notification.limited_by = None
    notification.may_have_gone_out = False
    notification.provider = notification.provider_id = notification.key_until = None
    notification.sender = notification.reply_to = None
    notification.ended = notification.reason = notification.deferred_for = notification.bounce_reason = None
    notification.sent_at = notification.delivered_at = notification.opened_at = notification.clicked_at = None
    notification.bounced_at = notification.rejected_at = notification.complained_at = notification.expires_at = None
    notification.bundle = notification.digest_id = None
