"""The catalogue of event types."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from application.ports.log import Recorded
from application.projections.projection import Projection
from domain.event_type import EventType


class EventTypeRow(msgspec.Struct, kw_only=True):
    tenant: str
    name: str
    description: str = ""
    schema: dict[str, Any] | None = None
    example: dict[str, Any] | None = None
    deprecated: str | None = None
    checked: bool = False
    removed: bool = False
    created_at: datetime
    updated_at: datetime
    position: int


class EventTypesDescribed(Projection[EventTypeRow]):
    """One row per type and tenant, also of those that were removed."""

    name = "event_types"
    topics: Sequence[str] = (EventType.Described.TOPIC, EventType.Changed.TOPIC, EventType.Removed.TOPIC)
    begins: Sequence[str] = (EventType.Described.TOPIC,)
    row = EventTypeRow
    key_columns = ("tenant", "name")
    personal = False
    indexes: Mapping[str, str] = MappingProxyType({})

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        event: Any = recorded.event
        return [(event.tenant, event.name)]

    def fold(self, key: tuple[Any, ...], row: EventTypeRow | None, recorded: Recorded) -> EventTypeRow:
        event: Any = recorded.event
        if isinstance(event, EventType.Described):
            row = EventTypeRow(
                tenant=event.tenant, name=event.name, created_at=event.timestamp, updated_at=event.timestamp, position=0
            )
        assert row is not None
        row.removed = isinstance(event, EventType.Removed)
        for name, value in msgspec.structs.asdict(event.terms).items() if not row.removed else ():
            setattr(row, name, value)
        row.updated_at, row.position = event.timestamp, recorded.position
        return row
