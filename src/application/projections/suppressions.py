"""The suppression list as it is looked through. What is decided by is read from the streams."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from application.ports.log import Recorded
from application.projections.projection import Projection
from domain.personal import Listed
from domain.suppression import Suppression
from domain.vocabulary import Channel, Ground


class ListedFor(msgspec.Struct, frozen=True, kw_only=True):
    """One reason that an address stands on the list for."""

    ground: Ground
    category: str | None
    since: datetime
    until: datetime | None
    source: str
    by: str


class SuppressionRow(msgspec.Struct, kw_only=True):
    """An address without `entries` was taken off the list."""

    id: UUID
    tenant: str
    channel: Channel
    address: str | None
    address_digest: str
    entries: list[ListedFor] = []
    listed: bool = False
    updated_at: datetime
    position: int


class Suppressions(Projection[SuppressionRow]):
    """One row per address that ever was on the list."""

    name = "suppressions"
    topics: Sequence[str] = (Suppression.Begun.TOPIC, Suppression.Added.TOPIC, Suppression.Removed.TOPIC)
    begins: Sequence[str] = (Suppression.Begun.TOPIC,)
    row = SuppressionRow
    key_columns = ("id",)
    personal = True
    indexes: Mapping[str, str] = MappingProxyType({"listed": "(tenant, id) WHERE listed"})

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        return [(recorded.event.originator_id,)]

    def fold(self, key: tuple[Any, ...], row: SuppressionRow | None, recorded: Recorded) -> SuppressionRow:
        event: Any = recorded.event
        if isinstance(event, Suppression.Begun):
            row = _begun(event, recorded.position)
        assert row is not None
        match event:
            case Suppression.Added():
                row.entries = [*_others(row, event), _entry(event)]
            case Suppression.Removed():
                row.entries = _others(row, event)
        row.listed = bool(row.entries)
        row.updated_at, row.position = event.timestamp, recorded.position
        return row


def _begun(event: Any, position: int) -> SuppressionRow:
    return SuppressionRow(
        id=event.originator_id,
        tenant=event.tenant,
        channel=event.channel,
        address=event.personal.address if isinstance(event.personal, Listed) else None,
        address_digest=event.address_digest,
        updated_at=event.timestamp,
        position=position,
    )


def _others(row: SuppressionRow, event: Any) -> list[ListedFor]:
    return [each for each in row.entries if (each.ground, each.category) != (event.ground, event.category)]


def _entry(event: Any) -> ListedFor:
    return ListedFor(
        ground=event.ground,
        category=event.category,
        since=event.timestamp,
        until=event.until,
        source=event.source,
        by=event.by,
    )
