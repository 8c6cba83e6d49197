"""Making the schedule again from the log, should it ever be lost or doubted."""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from application.ports.log import EventLog, EventStore, Recorded
from domain.notification import Notification
from domain.subscription import WebhookSubscription

BATCH = 10_000


class RewritableSchedule(Protocol):
    def alone(self) -> AbstractAsyncContextManager[None]:
        """Nobody appends to the log for as long as the block lasts."""

    async def rewrite(
        self, notifications: Iterable[Notification], subscriptions: Iterable[WebhookSubscription], lease: timedelta
    ) -> int:
        """Hold exactly what is due for these; those with a call on its way only once its lease has lapsed.

        The lanes are those of these subscriptions.
        """


async def reschedule(
    log: EventLog,
    events: EventStore,
    schedule: RewritableSchedule,
    lease: timedelta,
    progress: Callable[[int, int], None],
) -> int:
    """Fold the log into the work that is still due and write it down; answers how many rows that made."""
    unfinished = _Unfinished()
    position = 0
    head = await log.head()
    while position < head:
        position = await _read_on(log, unfinished, position)
        progress(position, head)
    async with schedule.alone():
        while (reached := await _read_on(log, unfinished, position)) > position:
            position = reached
        return await schedule.rewrite(await unfinished.all(events), unfinished.subscriptions(), lease)


async def _read_on(log: EventLog, unfinished: "_Unfinished", position: int) -> int:
    batch = await log.read(position, BATCH)
    for recorded in batch:
        unfinished.take(recorded)
    return batch[-1].position if batch else position


class _Unfinished:
    """The notifications with something left to do. Those taken up again after their end are looked up at the end."""

    def __init__(self) -> None:
        self._open: dict[UUID, Notification] = {}
        self._again: set[UUID] = set()
        self._subscriptions: dict[UUID, Any] = {}

    def take(self, recorded: Recorded) -> None:
        event: Any = recorded.event
        if isinstance(event, WebhookSubscription.Event):
            self._subscriptions[event.originator_id] = event.mutate(self._subscriptions.get(event.originator_id))
        if not isinstance(event, Notification.Event):
            return
        known = self._open.pop(event.originator_id, None)
        if known is None and not isinstance(event, Notification.Queued):
            self._again.add(event.originator_id)
            return
        notification: Any = event.mutate(known)
        if notification.due is not None:
            self._open[notification.id] = notification

    def subscriptions(self) -> list[WebhookSubscription]:
        return list(self._subscriptions.values())

    async def all(self, events: EventStore) -> list[Notification]:
        again = await events.get_many(Notification, self._again)
        return [*(n for n in self._open.values() if n.id not in again), *again.values()]
