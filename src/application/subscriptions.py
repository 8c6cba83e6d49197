"""Subscriptions: the caller's own one, and which there are, as a copy in this process that follows the log."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Protocol
from uuid import UUID

from application.caller import Caller
from application.ports.log import EventLog, EventStore
from application.ports.webhooks import Interest
from application.problems import NotFoundError
from domain.subscription import Terms, WebhookSubscription

_TOPICS: Sequence[str] = tuple(
    each.TOPIC for each in (WebhookSubscription.Created, WebhookSubscription.Updated, WebhookSubscription.Deleted)
)
_BATCH = 1_000


class InterestReader(Protocol):
    """The read model of subscriptions."""

    async def interests(self) -> tuple[int, list[tuple[str, Interest]]]:
        """Every subscription that is not deleted, with its tenant, as of this position of the log or later."""


class SubscriptionDirectory:
    """Implements the port Subscriptions.

    The read model may be behind the log, so that is read from there to its head each time, once for all who wait.
    """

    def __init__(self, log: EventLog, reader: InterestReader) -> None:
        self._log = log
        self._reader = reader
        self._known: dict[str, dict[UUID, Interest]] = {}
        self._position: int | None = None
        self._next: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def of(self, tenant: str) -> Collection[Interest]:
        if self._next is None:
            self._next = asyncio.create_task(self._catch_up(), name="subscriptions")
        await asyncio.shield(self._next)
        return list(self._known.get(tenant, {}).values())

    async def _catch_up(self) -> None:
        """Begins only when the one before has ended; who comes after it has begun waits for the next."""
        async with self._turn:
            self._next = None
            await self._read()

    async def _read(self) -> None:
        if self._position is None:
            self._position, rows = await self._reader.interests()
            for tenant, interest in rows:
                self._known.setdefault(tenant, {})[interest.id] = interest
        head = await self._log.head()
        while self._position < head:
            batch = await self._log.read(self._position, _BATCH, _TOPICS, until=head, personal=False)
            for recorded in batch:
                self._take(recorded.event)
            self._position = batch[-1].position if len(batch) == _BATCH else head

    def _take(self, event: Any) -> None:
        mine = self._known.setdefault(event.tenant, {})
        if isinstance(event, WebhookSubscription.Deleted):
            mine.pop(event.originator_id, None)
        else:
            mine[event.originator_id] = interest_of(event.originator_id, event.terms)


def interest_of(id: UUID, terms: Terms) -> Interest:
    return Interest(id=id, organization=terms.organization, event_types=terms.event_types, filters=terms.filters)


def key_name(id: UUID) -> str:
    """By what name the key is known that all of one subscription is sealed with."""
    return f"webhook:{id}"


async def own_subscription(id: UUID, caller: Caller, events: EventStore) -> WebhookSubscription:
    """The caller's own, as long as it is not deleted. Raises NotFoundError."""
    subscription = await events.get(WebhookSubscription, id)
    if subscription is None or subscription.tenant != caller.tenant or subscription.is_deleted:
        raise not_found(id)
    return subscription


def not_found(id: UUID) -> NotFoundError:
    return NotFoundError(f"there is no webhook {id}")
