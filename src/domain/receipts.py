"""What a provider later says of a message it took: one stream of one event for each callback event."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate

from domain.ids import receipt_id
from domain.personal import Erased, Remark


class ReceiptKind(StrEnum):
    SENT = "sent"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    SOFT_BOUNCED = "soft_bounced"
    REJECTED = "rejected"
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    OTHER = "other"


class ProviderReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """One callback event in our words.

    `notification` and its `generation` are as the provider hands them back in the message's tags, None if it does not;
    `provider_id` is the provider's id of the message; `said` the provider's name of the event.
    """

    provider: str
    event_id: str
    kind: ReceiptKind
    said: str
    provider_id: str | None
    notification: UUID | None
    generation: int | None = None
    occurred_at: datetime
    detail: str = ""


class Receipt(Aggregate):
    """The log's primary key on its stream is what makes a callback that comes twice count once."""

    class Received(Aggregate.Created):
        TOPIC = "receipt.received"

        by: str
        provider: str
        event_id: str
        kind: ReceiptKind
        said: str
        provider_id: str | None
        notification: UUID | None
        generation: int | None
        occurred_at: datetime
        personal: Remark | Erased | None

    def __init__(self, provider: str, kind: ReceiptKind, provider_id: str | None, notification: UUID | None) -> None:
        self.provider = provider
        self.kind = kind
        self.provider_id = provider_id
        self.notification = notification

    @classmethod
    def record(cls, receipt: ProviderReceipt, remark: Remark | None, *, now: datetime) -> "Receipt":
        return cls._create(
            cls.Received,
            id=receipt_id(receipt.provider, receipt.event_id),
            timestamp=now,
            by=f"provider:{receipt.provider}",
            provider=receipt.provider,
            event_id=receipt.event_id,
            kind=receipt.kind,
            said=receipt.said,
            provider_id=receipt.provider_id,
            notification=receipt.notification,
            generation=receipt.generation,
            occurred_at=receipt.occurred_at,
            personal=remark,
        )
