"""The inbox of provider callbacks: what came, and which notification it is about."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from application.ports.log import Recorded
from application.projections.projection import Projection
from domain.receipts import Receipt, ReceiptKind


class ReceiptRow(msgspec.Struct, kw_only=True):
    id: UUID
    provider: str
    event_id: str
    kind: ReceiptKind
    said: str
    provider_id: str | None
    notification: UUID | None
    occurred_at: datetime
    received_at: datetime
    position: int


class Receipts(Projection[ReceiptRow]):
    """One row per callback event."""

    name = "receipts"
    topics: Sequence[str] = (Receipt.Received.TOPIC,)
    begins: Sequence[str] = (Receipt.Received.TOPIC,)
    row = ReceiptRow
    key_columns = ("id",)
    personal = False
    indexes: Mapping[str, str] = MappingProxyType({"by_provider_id": "(provider, provider_id)"})

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        return [(recorded.event.originator_id,)]

    def fold(self, key: tuple[Any, ...], row: ReceiptRow | None, recorded: Recorded) -> ReceiptRow:
        event: Any = recorded.event
        return ReceiptRow(
            id=event.originator_id,
            provider=event.provider,
            event_id=event.event_id,
            kind=event.kind,
            said=event.said,
            provider_id=event.provider_id,
            notification=event.notification,
            occurred_at=event.occurred_at,
            received_at=event.timestamp,
            position=recorded.position,
        )
