"""Every call to a provider and what it came to."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from application.ports.log import Recorded
from application.projections.projection import Projection
from domain.notification import Notification
from domain.personal import Remark
from domain.vocabulary import Reason


class AttemptRow(msgspec.Struct, kw_only=True):
    """`outcome` is started, sent, failed or deferred; `milliseconds` go from recorded intent to recorded outcome.

    Of a webhook also what its receiver answered, and how long that took by itself.
    """

    notification: UUID
    call: int
    tenant: str
    attempt: int
    generation: int
    provider: str
    started_at: datetime
    outcome: str = "started"
    reason: Reason | None = None
    detail: str | None = None
    finished_at: datetime | None = None
    milliseconds: float | None = None
    response_status: int | None = None
    response_milliseconds: float | None = None


class Attempts(Projection[AttemptRow]):
    """One row per call."""

    name = "attempts"
    topics: Sequence[str] = tuple(
        each.TOPIC for each in (Notification.Rendered, Notification.Sent, Notification.Failed, Notification.Deferred)
    )
    begins: Sequence[str] = (Notification.Rendered.TOPIC,)
    row = AttemptRow
    key_columns = ("notification", "call")
    personal = True
    indexes: Mapping[str, str] = MappingProxyType({})

    def keys(self, recorded: Recorded) -> Sequence[tuple[Any, ...]]:
        event: Any = recorded.event
        return [(event.originator_id, event.call)] if event.call else []

    def fold(self, key: tuple[Any, ...], row: AttemptRow | None, recorded: Recorded) -> AttemptRow:
        event: Any = recorded.event
        match event:
            case Notification.Rendered():
                return AttemptRow(
                    notification=event.originator_id,
                    call=event.call,
                    tenant=event.tenant,
                    attempt=event.attempt,
                    generation=event.generation,
                    provider=event.provider,
                    started_at=event.timestamp,
                )
            case Notification.Sent():
                return _finished(row, "sent", event)
            case Notification.Failed():
                return _finished(row, "failed", event)
        return _finished(row, "deferred", event)


def _finished(row: AttemptRow | None, outcome: str, event: Any) -> AttemptRow:
    assert row is not None
    row.outcome = outcome
    row.reason = getattr(event, "reason", None)
    remark = getattr(event, "personal", None)
    response = remark.response if isinstance(remark, Remark) else None
    row.detail = (remark.text or None) if isinstance(remark, Remark) else None
    row.response_status = response.status if response else None
    row.response_milliseconds = getattr(event, "milliseconds", None)
    row.finished_at = event.timestamp
    row.milliseconds = (event.timestamp - row.started_at).total_seconds() * 1000
    return row
