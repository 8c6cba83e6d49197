"""What services told us happened, in the order in which they did."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from application.ports.log import Recorded
from application.projections.projection import Projection
from domain.happening import Happening


class HappeningRow(msgspec.Struct, kw_only=True):
    id: UUID
    tenant: str
    event_id: str
    type: str
    organization: str | None
    occurred_at: datetime
    told_at: datetime
    position: int


class Happenings(Projection[HappeningRow]):
    """One row per event that was told of."""

    name = "happenings"
    topics: Sequence[str] = (Happening.Told.TOPIC,)
    begins: Sequence[str] = (Happening.Told.TOPIC,)
    row = HappeningRow
    key_columns = ("id",)
    personal = False
    indexes: Mapping[str, str] = MappingProxyType({"in_order": "(tenant, position)"})

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        return [(recorded.event.originator_id,)]

    def fold(self, key: tuple[Any, ...], row: HappeningRow | None, recorded: Recorded) -> HappeningRow:
        event: Any = recorded.event
        return HappeningRow(
            id=event.originator_id,
            tenant=event.tenant,
            event_id=event.event_id,
            type=event.type,
            organization=event.organization,
            occurred_at=event.occurred_at,
            told_at=event.timestamp,
            position=recorded.position,
        )
