"""Sending notifications and reading them back."""

import asyncio
import base64
import binascii
from datetime import datetime
from time import monotonic
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter, SkipValidation

from application.caller import Caller, Scope
from application.commands.manage import CancelAnswer, CancelNotification, RetryAnswer, RetryNotification
from application.commands.send import IdempotencyKey, SendAnswer, SendEmail, SendNotification
from application.ports import Recorded
from application.problems import InvalidCommandError, NotFoundError, Problem
from application.projections.notifications import NotificationRow
from application.queries.notifications import DeliveryStatus, ListNotifications, delivery_status
from domain.vocabulary import Channel, Status
from entrypoints.bootstrap import Parts
from entrypoints.http.authentication import demand
from entrypoints.http.detail import AuditEvent, NotificationDetail, NotificationPage, audit_event, detail
from entrypoints.http.problems import NotReadyError
from entrypoints.http.request import JsonRequest

PATIENCE = 5.0
"""Seconds that a read waits for the read models to reach a position."""

Asking = NamedDependency[SkipValidation[Caller]]
With = NamedDependency[SkipValidation[Parts]]
Key = Annotated[str | None, HeaderParameter(name="Idempotency-Key", min_length=1, max_length=256, required=False)]
WaitFor = Annotated[int | None, QueryParameter(name="wait_for", ge=0, required=False)]


class NotificationsController(Controller):
    path = "/api/v1/notifications"
    tags = ["Notifications"]  # noqa: RUF012 - the form that Litestar asks for

    @post("/", status_code=202, operation_id="SendNotification", summary="Send")
    async def send(
        self, data: JSONBody[SendNotification], request: JsonRequest, caller: Asking, parts: With, key: Key = None
    ) -> SendAnswer:
        """Say one thing to one or many recipients by one or many channels; answered once it is stored for good."""
        demand(caller, Scope.SEND)
        return await parts.send(data, caller, await idempotency(request, parts, key))

    @get("/", operation_id="ListNotifications", summary="List, newest first")
    async def page(
        self,
        caller: Asking,
        parts: With,
        status: Status | None = None,
        channel: Channel | None = None,
        type: str | None = None,
        recipient: str | None = None,
        recipient_user_id: str | None = None,
        since: Annotated[datetime | None, QueryParameter(name="from", required=False)] = None,
        until: Annotated[datetime | None, QueryParameter(name="to", required=False)] = None,
        cursor: str | None = None,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
        wait_for: WaitFor = None,
    ) -> NotificationPage:
        """Pages are found by their place, not by counting: pass `next_cursor` back as `cursor`."""
        demand(caller, Scope.READ)
        query = ListNotifications(
            status=status,
            channel=channel,
            type=type,
            recipient=recipient,
            recipient_user_id=recipient_user_id,
            since=since,
            until=until,
            before=_place_of(cursor, caller) if cursor else None,
            limit=limit + 1,
        )
        await caught_up(parts, wait_for)
        rows = await parts.reader.page(caller.tenant, query)
        more = len(rows) > limit
        rows = rows[:limit]
        return NotificationPage([detail(row) for row in rows], _cursor(rows[-1].id, caller) if more else None)

    @get("/{id:uuid}", operation_id="GetNotification", summary="Detail")
    async def one(
        self, id: FromPath[UUID], caller: Asking, parts: With, wait_for: WaitFor = None
    ) -> NotificationDetail:
        demand(caller, Scope.READ)
        return detail(await _row(parts, caller, id, wait_for))

    @get("/{id:uuid}/status", operation_id="GetDeliveryStatus", summary="Delivery status with every attempt")
    async def status(self, id: FromPath[UUID], caller: Asking, parts: With, wait_for: WaitFor = None) -> DeliveryStatus:
        demand(caller, Scope.READ)
        row = await _row(parts, caller, id, wait_for)
        return delivery_status(row, await parts.reader.attempts(caller.tenant, id))

    @get("/{id:uuid}/events", operation_id="GetAuditTrail", summary="Audit trail")
    async def events(self, id: FromPath[UUID], caller: Asking, parts: With) -> list[AuditEvent]:
        """Every event of this notification, read from the log itself."""
        demand(caller, Scope.READ)
        history: list[Recorded] = await parts.store.history(id)
        if not history or getattr(history[0].event, "tenant", None) != caller.tenant or not _is_notification(history):
            raise NotFoundError(f"there is no notification {id}")
        return [audit_event(recorded, parts.secrets) for recorded in history]

    @post("/{id:uuid}/cancel", status_code=200, operation_id="CancelNotification", summary="Cancel before it is sent")
    async def cancel(self, id: FromPath[UUID], caller: Asking, parts: With) -> CancelAnswer:
        """`cancelled` means that no provider was or will be called for it; otherwise the result is `too_late`."""
        demand(caller, Scope.SEND)
        return await parts.cancel(CancelNotification(id), caller)

    @post("/{id:uuid}/retry", status_code=202, operation_id="RetryNotification", summary="Send once more")
    async def retry(self, id: FromPath[UUID], caller: Asking, parts: With) -> RetryAnswer:
        """Only what failed, bounced or expired."""
        demand(caller, Scope.SEND)
        return await parts.retry(RetryNotification(id), caller)


InternalCommand = SendEmail | SendNotification | RetryNotification | CancelNotification


class InternalController(Controller):
    path = "/internal"
    tags = ["Service to service"]  # noqa: RUF012 - the form that Litestar asks for

    @post("/send", status_code=202, operation_id="InternalSend", summary="A send, or a single command")
    async def internal_send(
        self, data: JSONBody[InternalCommand], request: JsonRequest, caller: Asking, parts: With, key: Key = None
    ) -> SendAnswer | RetryAnswer | CancelAnswer:
        """Without `command` the body is that of a send."""
        demand(caller, Scope.INTERNAL)
        match data:
            case RetryNotification():
                return await parts.retry(data, caller)
            case CancelNotification():
                return await parts.cancel(data, caller)
        command = data.as_send() if isinstance(data, SendEmail) else data
        return await parts.send(command, caller, await idempotency(request, parts, key))


async def idempotency(request: JsonRequest, parts: Parts, key: str | None) -> IdempotencyKey | None:
    return IdempotencyKey(key, parts.fingerprint(await request.body())) if key else None


async def caught_up(parts: Parts, position: int | None) -> None:
    """Wait until the read models show what was written at `position`. Raises NotReadyError after 5 s."""
    give_up = monotonic() + PATIENCE
    while position and min((await parts.reader.positions()).values()) < position:
        if monotonic() > give_up:
            raise NotReadyError(f"position {position} is not reached")
        await asyncio.sleep(0.01)


async def _row(parts: Parts, caller: Caller, id: UUID, wait_for: int | None) -> NotificationRow:
    await caught_up(parts, wait_for)
    row = await parts.reader.get(caller.tenant, id)
    if row is None:
        raise NotFoundError(f"there is no notification {id}")
    return row


def _is_notification(history: list[Recorded]) -> bool:
    topic: str = type(history[0].event).TOPIC  # type: ignore[attr-defined]
    return topic.startswith("notification.")


class _Place(msgspec.Struct, frozen=True, array_like=True):
    tenant: str
    before: UUID


def _cursor(id: UUID, caller: Caller) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(_Place(caller.tenant, id))).decode().rstrip("=")


def _place_of(cursor: str, caller: Caller) -> UUID:
    """Where the page begins. Raises InvalidCommandError for what is no cursor of this tenant's."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        place = msgspec.msgpack.decode(raw, type=_Place)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        place = None
    if place is None or place.tenant != caller.tenant:
        raise InvalidCommandError([Problem("cursor", "is not a cursor that you were given")])
    return place.before
