"""What a person can still ask of one notification: not to send it, or to send it once more."""

from enum import StrEnum
from uuid import UUID

import msgspec

from application.caller import Caller
from application.ports.log import ConflictError, EventStore
from application.ports.time_and_chance import Clock
from application.problems import NotFoundError
from domain.notification import Notification
from domain.vocabulary import Status


class CancelNotification(msgspec.Struct, frozen=True, tag_field="command", tag="CancelNotification"):
    id: UUID


class RetryNotification(msgspec.Struct, frozen=True, tag_field="command", tag="RetryNotification"):
    id: UUID


class CancelResult(StrEnum):
    CANCELLED = "cancelled"
    TOO_LATE = "too_late"


class CancelAnswer(msgspec.Struct, frozen=True):
    id: UUID
    result: CancelResult
    status: Status
    position: int


class RetryAnswer(msgspec.Struct, frozen=True):
    id: UUID
    status: Status
    position: int


async def cancel(command: CancelNotification, caller: Caller, *, events: EventStore, clock: Clock) -> CancelAnswer:
    """Stop it, or say that it is too late: once this answers `cancelled`, no provider is ever called for it."""
    notification = await _own(command.id, caller, events)
    while notification.cancel(now=clock.now(), by=caller.by):
        try:
            position = await events.save(notification)
            return CancelAnswer(command.id, CancelResult.CANCELLED, notification.status, position)
        except ConflictError:
            notification = await _own(command.id, caller, events)
    return CancelAnswer(command.id, CancelResult.TOO_LATE, notification.status, await events.save())


async def retry(command: RetryNotification, caller: Caller, *, events: EventStore, clock: Clock) -> RetryAnswer:
    """Send it once more, now.

    Raises NotRetryableError while it may still go, or has gone, out, and GoesWithDigestError for what is in a digest.
    """
    notification = await _own(command.id, caller, events)
    notification.retry(now=clock.now(), by=caller.by)
    position = await events.save(notification)
    return RetryAnswer(command.id, notification.status, position)


async def _own(id: UUID, caller: Caller, events: EventStore) -> Notification:
    notification = await events.get(Notification, id)
    if notification is None or notification.tenant != caller.tenant:
        raise NotFoundError(f"there is no notification {id}")
    return notification
