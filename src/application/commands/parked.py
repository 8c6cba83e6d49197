"""What can be done about records that were set aside: look, try again, give up."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol
from uuid import UUID

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.inbound.event import Record
from application.inbound.intake import Intake, body_key
from application.ports.log import ConflictError, EventStore, Persons
from application.ports.time_and_chance import Clock
from application.problems import NotFoundError
from application.projections.parked import ParkedRow, ParkStatus
from domain.parked import ParkedRecord, ParkReason
from domain.personal import RecordBody

MOST_REPLAYED = 100
"""By one request: each may come to a few notifications."""


class ListParked(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. Without a status, all; `before` is a position."""

    status: ParkStatus | None = None
    reason: ParkReason | None = None
    topic: str | None = None
    before: int | None = None
    limit: int


class ParkedReader(Protocol):
    """The read model of records that were set aside."""

    async def page(self, tenant: str | None, query: ListParked) -> Sequence[ParkedRow]:
        """Those that a tenant looks after; of everybody and nobody where it is None."""

    async def oldest(
        self, tenant: str | None, reason: ParkReason | None, topic: str | None, after: int, limit: int
    ) -> Sequence[ParkedRow]:
        """Those that are still parked, whole, with a position greater than `after`, oldest first."""

    async def waiting(self) -> dict[tuple[str, str], int]:
        """How many are parked and neither replayed nor discarded, by topic and reason, of everybody."""


class ParkedDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A record with what is in it. `value` is text where it is UTF-8; of what was replayed or discarded nothing is

    shown.
    """

    id: UUID
    status: ParkStatus
    reason: ParkReason
    topic: str
    partition: int
    offset: int
    size: int
    complete: bool
    said_tenant: str | None
    event_id: str | None
    event_type: str | None
    mappings: list[str]
    parked_at: datetime
    problems: list[str]
    key: str | None
    value: str | None
    value_bytes: bytes | None
    headers: dict[str, str]


class ReplayParked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """These, or the oldest that are parked for a reason or in a topic; without anything, the oldest of all.

    `after` is the `next` of an answer: so those that stay parked are left behind.
    """

    ids: Annotated[list[UUID], Meta(max_length=MOST_REPLAYED)] = []
    reason: ParkReason | None = None
    topic: Annotated[str, Meta(max_length=249)] | None = None
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class ReplayedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`became` is the ids of the notifications or events it is now; none: nobody maps it, or no condition holds.

    With `problems` it stays parked.
    """

    id: UUID
    replayed: bool
    became: list[str] = []
    problems: list[str] = []


class ParkedReplay(msgspec.Struct, frozen=True, kw_only=True):
    """`more`: others like these are still parked, and were not tried: they come behind the position `next`."""

    records: list[ReplayedRecord]
    more: bool
    next: int | None = None
    position: int


class ParkedUses:
    """What can be asked of records that were set aside. A tenant of None is whoever runs the service."""

    def __init__(
        self, intake: Intake, reader: ParkedReader, events: EventStore, persons: Persons, clock: Clock
    ) -> None:
        self._intake = intake
        self._reader = reader
        self._events = events
        self._persons = persons
        self._clock = clock

    async def page(self, tenant: str | None, query: ListParked) -> Sequence[ParkedRow]:
        return await self._reader.page(tenant, query)

    async def one(self, tenant: str | None, id: UUID) -> ParkedDetail:
        """Raises NotFoundError."""
        parked = await self._own(tenant, id)
        body = parked.body if isinstance(parked.body, RecordBody) else None
        return ParkedDetail(
            id=parked.id,
            status=status_of(parked),
            reason=parked.reason,
            **{name: getattr(parked.origin, name) for name in ("topic", "partition", "offset")},
            **{name: getattr(parked, name) for name in ("size", "complete", "said_tenant", "event_id", "event_type")},
            mappings=list(parked.mappings),
            parked_at=parked.created_on,
            problems=list(body.problems) if body else [],
            key=body.key.decode(errors="replace") if body and body.key is not None else None,
            value=_text(body.value) if body else None,
            value_bytes=body.value if body and _text(body.value) is None else None,
            headers={name: value.decode(errors="replace") for name, value in body.headers} if body else {},
        )

    async def replay(self, command: ReplayParked, caller: Caller, tenant: str | None) -> ParkedReplay:
        """As if they came now: what became of them before becomes nothing more. Raises NotFoundError."""
        ids, after = command.ids, None
        if not ids:
            ids, after = await self._oldest(command, tenant)
        found = [await self._own(tenant, id) for id in dict.fromkeys(ids)]  # all, before the first becomes anything
        records = [await self._replayed(each, caller) for each in found]
        return ParkedReplay(records=records, more=after is not None, next=after, position=await self._events.save())

    async def discard(self, id: UUID, caller: Caller, tenant: str | None) -> int:
        """What is in it is erased for good. Answers the position. Raises NotFoundError."""
        parked = await self._own(tenant, id)
        await self._erase(parked)
        parked.discard(now=self._clock.now(), by=caller.by)
        return await self._events.save(parked)

    async def _oldest(self, command: ReplayParked, tenant: str | None) -> tuple[list[UUID], int | None]:
        """And the position of the last one, where there are more."""
        rows = await self._reader.oldest(tenant, command.reason, command.topic, command.after, MOST_REPLAYED + 1)
        tried = rows[:MOST_REPLAYED]
        return [row.id for row in tried], tried[-1].position if len(rows) > MOST_REPLAYED else None

    async def _replayed(self, parked: ParkedRecord, caller: Caller) -> ReplayedRecord:
        body = parked.body
        if parked.replayed:
            await self._erase(parked)
            return ReplayedRecord(id=parked.id, replayed=True, became=list(parked.became))
        if not isinstance(body, RecordBody):
            return ReplayedRecord(id=parked.id, replayed=False, problems=["its content is erased"])
        if not parked.complete:
            return ReplayedRecord(id=parked.id, replayed=False, problems=["only its beginning was kept"])
        handled = await self._intake.handle(
            Record(origin=parked.origin, key=body.key, value=body.value, headers=body.headers)
        )
        if handled.unfit:
            return ReplayedRecord(
                id=parked.id, replayed=False, became=handled.became, problems=list(handled.unfit.problems)
            )
        parked.replay(tuple(handled.became), now=self._clock.now(), by=caller.by)
        await self._saved(parked)
        await self._erase(parked)
        return ReplayedRecord(id=parked.id, replayed=True, became=handled.became)

    async def _erase(self, parked: ParkedRecord) -> None:
        """Nobody needs what is in it any more; it may be somebody's data."""
        await self._persons.forget(parked.tenant, body_key(parked.origin))

    async def _saved(self, parked: ParkedRecord) -> None:
        """Somebody else may have replayed it at the same moment, to the same effect."""
        try:
            await self._events.save(parked)
        except ConflictError:
            return

    async def _own(self, tenant: str | None, id: UUID) -> ParkedRecord:
        parked = await self._events.get(ParkedRecord, id)
        if parked is None or tenant not in (None, parked.tenant):
            raise NotFoundError(f"there is no parked record {id}")
        return parked


def status_of(parked: ParkedRecord) -> ParkStatus:
    if parked.discarded:
        return ParkStatus.DISCARDED
    return ParkStatus.REPLAYED if parked.replayed else ParkStatus.PARKED


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
