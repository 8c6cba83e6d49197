"""What happened that a subscription is for, for those who come and ask."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from application.caller import Caller
from application.ports.log import EventStore
from application.projections.happenings import HappeningRow
from application.subscriptions import own_subscription
from domain.filters import matches
from domain.happening import Happening
from domain.personal import Payload
from domain.subscription import Terms

_AT_ONCE = 500
_WHOLE_AT_ONCE = 4
_MOST_LOOKED_AT = 5_000
_MOST_BYTES = 1024 * 1024


class FeedEvent(msgspec.Struct, frozen=True):
    """What a webhook would have said, and where it stands; `data` is null when it was erased."""

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any] | None
    organization_id: str | None
    position: int


class Feed(msgspec.Struct, frozen=True):
    """Ask again with `after` set to `next`: there may be more already when `more` says so."""

    events: list[FeedEvent]
    next: int
    more: bool


class HappeningReader(Protocol):
    """The read model of what happened."""

    async def after(self, tenant: str, position: int, limit: int) -> Sequence[HappeningRow]:
        """In the order of the log."""


class Found(msgspec.Struct, frozen=True):
    row: HappeningRow
    happening: Happening


class Stretch(msgspec.Struct, frozen=True):
    """What fits in one part of the log; all was looked at up to `reached`, and there may be `more` after it."""

    found: list[Found]
    reached: int
    more: bool


async def feed(
    id: UUID, after: int, limit: int, caller: Caller, *, events: EventStore, reader: HappeningReader
) -> Feed:
    """At most `limit` events told after position `after` that fit the subscription as it is now, oldest first.

    Fewer where their data would be more than 1 MiB together. It does not matter whether the subscription is paused,
    nor since when it is there. Raises NotFoundError.
    """
    terms = (await own_subscription(id, caller, events)).terms
    shown: list[FeedEvent] = []
    size, stretch = 0, Stretch([], after, False)
    async for stretch in fitting(terms, after, caller.tenant, events, reader):
        for event in map(_shown, stretch.found):
            size += len(msgspec.json.encode(event.data))
            if shown and size > _MOST_BYTES:
                return Feed(shown, shown[-1].position, True)
            shown.append(event)
            if len(shown) == limit:
                return Feed(shown, event.position, True)
    return Feed(shown, stretch.reached, stretch.more)


async def fitting(
    terms: Terms, after: int, tenant: str, events: EventStore, reader: HappeningReader, *, personal: bool = True
) -> AsyncIterator[Stretch]:
    """What fits these terms, with few payloads in memory at a time; without `personal` with none, where no filter asks.

    It ends where the log does, or when enough was looked at.
    """
    looked_at, more = 0, True
    while more and looked_at < _MOST_LOOKED_AT:
        rows = await reader.after(tenant, after, _AT_ONCE)
        wanted = [row for row in rows if _may_fit(row, terms)]
        for start in range(0, len(wanted), _WHOLE_AT_ONCE):
            few = wanted[start : start + _WHOLE_AT_ONCE]
            whole = await events.get_many(Happening, [row.id for row in few], personal=personal or bool(terms.filters))
            found = [Found(row, whole[row.id]) for row in few if is_for(whole[row.id], terms)]
            yield Stretch(found, few[-1].position, True)
        after, more, looked_at = rows[-1].position if rows else after, len(rows) == _AT_ONCE, looked_at + len(rows)
        yield Stretch([], after, more)


def is_for(happening: Happening, terms: Terms) -> bool:
    """Whether it fits them. What was erased fits nothing that looks into it."""
    payload = happening.payload
    passes = all(isinstance(payload, Payload) and each.lets_through(payload.data) for each in terms.filters)
    return passes and _may_fit(happening, terms)


def _may_fit(it: HappeningRow | Happening, terms: Terms) -> bool:
    ours = terms.organization in (None, it.organization)
    return ours and any(matches(pattern, it.type) for pattern in terms.event_types)


def _shown(found: Found) -> FeedEvent:
    happening, payload = found.happening, found.happening.payload
    return FeedEvent(
        happening.event_id,
        happening.type,
        found.row.occurred_at,
        payload.data if isinstance(payload, Payload) else None,
        happening.organization,
        found.row.position,
    )
