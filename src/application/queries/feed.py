"""What happened that a subscription is for, for those who come and ask."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from application.caller import Caller
from application.commands.webhooks import own_subscription
from application.ports import EventStore
from application.projections.happenings import HappeningRow
from domain.filters import matches
from domain.happening import Happening
from domain.personal import Payload
from domain.subscription import Terms

_AT_ONCE = 500
_MOST_LOOKED_AT = 5_000


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


async def feed(
    id: UUID, after: int, limit: int, caller: Caller, *, events: EventStore, reader: HappeningReader
) -> Feed:
    """At most `limit` events told after position `after` that fit the subscription as it is now, oldest first.

    It does not matter whether the subscription is paused, nor since when it is there. Raises NotFoundError.
    """
    terms = (await own_subscription(id, caller, events)).terms
    found, reached, more = await fitting(terms, after, limit, caller.tenant, events, reader)
    return Feed([_shown(each) for each in found], reached, more)


async def fitting(
    terms: Terms, after: int, limit: int, tenant: str, events: EventStore, reader: HappeningReader
) -> tuple[list[Found], int, bool]:
    """What fits these terms, the position up to which all was looked at, and whether there may be more after it."""
    found: list[Found] = []
    looked_at = 0
    while len(found) < limit and looked_at < _MOST_LOOKED_AT:
        rows = await reader.after(tenant, after, _AT_ONCE)
        wanted = [row for row in rows if _may_fit(row, terms)]
        happenings = await events.get_many(Happening, [row.id for row in wanted])
        fits = [Found(row, happenings[row.id]) for row in wanted if is_for(happenings[row.id], terms)]
        if len(found) + len(fits) >= limit:
            found += fits[: limit - len(found)]
            return found, found[-1].row.position, True
        found += fits
        after = rows[-1].position if rows else after
        looked_at += len(rows)
        if len(rows) < _AT_ONCE:
            return found, after, False
    return found, after, True


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
