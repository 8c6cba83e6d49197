"""Records that were set aside."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from application.ports.log import Recorded
from application.projections.projection import Projection
from domain.parked import ParkedRecord, ParkReason


class ParkStatus(StrEnum):
    PARKED = "parked"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class ParkedRow(msgspec.Struct, kw_only=True):
    id: UUID
    tenant: str
    status: ParkStatus = ParkStatus.PARKED
    reason: ParkReason
    topic: str
    partition: int
    record_offset: int
    size: int
    complete: bool
    said_tenant: str | None
    event_id: str | None
    event_type: str | None
    mappings: list[str]
    parked_at: datetime
    updated_at: datetime
    position: int


class KafkaParked(Projection[ParkedRow]):
    """One row per record. What is in it stays in the log."""

    name = "kafka_parked"
    topics: Sequence[str] = tuple(
        each.TOPIC for each in (ParkedRecord.Parked, ParkedRecord.Replayed, ParkedRecord.Discarded)
    )
    begins: Sequence[str] = (ParkedRecord.Parked.TOPIC,)
    row = ParkedRow
    key_columns = ("id",)
    personal = False
    indexes: Mapping[str, str] = MappingProxyType({"in_order": "(tenant, position)"})

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        return [(recorded.event.originator_id,)]

    def fold(self, key: tuple[Any, ...], row: ParkedRow | None, recorded: Recorded) -> ParkedRow:
        event: Any = recorded.event
        if isinstance(event, ParkedRecord.Parked):
            row = _begun(event, recorded.position)
        assert row is not None
        if isinstance(event, ParkedRecord.Replayed):
            row.status = ParkStatus.REPLAYED
        elif isinstance(event, ParkedRecord.Discarded):
            row.status = ParkStatus.DISCARDED
        row.updated_at = event.timestamp
        return row


def _begun(event: Any, position: int) -> ParkedRow:
    """`position` stays where it was parked: lists are in that order."""
    return ParkedRow(
        id=event.originator_id,
        tenant=event.tenant,
        reason=event.reason,
        topic=event.origin.topic,
        partition=event.origin.partition,
        record_offset=event.origin.offset,
        size=event.size,
        complete=event.complete,
        said_tenant=event.said_tenant,
        event_id=event.event_id,
        event_type=event.event_type,
        mappings=list(event.mappings),
        parked_at=event.timestamp,
        updated_at=event.timestamp,
        position=position,
    )
