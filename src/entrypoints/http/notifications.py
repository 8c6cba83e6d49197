"""Sending notifications and reading them back."""

import asyncio
import base64
import binascii
from datetime import datetime
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter

from application.addresses import InvalidAddressError, email_address
from application.caller import Caller, Scope
from application.commands.manage import CancelAnswer, CancelNotification, RetryAnswer, RetryNotification
from application.commands.send import IdempotencyKey, SendAnswer
from application.commands.send_webhook import EventAnswer, SendWebhook
from application.commands.sending import SendEmail, SendNotification
from application.problems import InvalidCommandError, NotFoundError, Problem
from application.projections.notifications import NotificationRow
from application.queries.explain import Explanation
from application.queries.notifications import DeliveryStatus, ListNotifications, delivery_status
from application.queries.proof import Proof
from domain.notification import Notification
from domain.vocabulary import Channel, Status
from entrypoints.http.authentication import demand
from entrypoints.http.detail import AuditEvent, NotificationDetail, NotificationPage, audit_event, detail
from entrypoints.http.lines import note_accepted
from entrypoints.http.problems import NotReadyError
from entrypoints.http.request import JsonRequest
from entrypoints.parts import Parts

PATIENCE = 5.0
"""Seconds that a read waits for the read models to reach a position."""

Key = Annotated[str | None, HeaderParameter(name="Idempotency-Key", min_length=1, max_length=256, required=False)]
Text = Annotated[str | None, QueryParameter(pattern=r"^[^\x00]*$", max_length=1_000, required=False)]
WaitFor = Annotated[int | None, QueryParameter(name="wait_for", ge=0, required=False)]


class NotificationsController(Controller):
    path = "/api/v1/notifications"
    tags = ["Notifications"]  # noqa: RUF012 - the form that Litestar asks for

    @post("/", status_code=202, operation_id="SendNotification", summary="Send")
    async def send(self, data: JSONBody[SendNotification], request: JsonRequest, key: Key = None) -> SendAnswer:
        """Say one thing to one or many recipients by one or many channels; answered once it is stored for good."""
        demand(request.caller, Scope.SEND)
        return note_accepted(request, await request.parts.send(data, request.caller, await idempotency(request, key)))

    @get("/", operation_id="ListNotifications", summary="List, newest first")
    async def page(
        self,
        request: JsonRequest,
        status: FromQuery[Status | None] = None,
        channel: FromQuery[Channel | None] = None,
        type: Text = None,
        recipient: Text = None,
        recipient_user_id: Text = None,
        since: Annotated[datetime | None, QueryParameter(name="from", required=False)] = None,
        until: Annotated[datetime | None, QueryParameter(name="to", required=False)] = None,
        cursor: Text = None,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
        wait_for: WaitFor = None,
    ) -> NotificationPage:
        """Pages are found by their place, not by counting: pass `next_cursor` back as `cursor`."""
        demand(request.caller, Scope.READ)
        query = ListNotifications(
            status=status,
            channel=channel,
            type=type,
            recipient=_as_stored(recipient),
            recipient_user_id=recipient_user_id,
            since=_told_everywhere("from", since),
            until=_told_everywhere("to", until),
            before=place_of(cursor, request.caller) if cursor else None,
            limit=limit + 1,
        )
        await caught_up(request.parts, wait_for)
        rows = await request.parts.reader.page(request.caller.tenant, query)
        more = len(rows) > limit
        rows = rows[:limit]
        return NotificationPage([detail(row) for row in rows], cursor_at(rows[-1].id, request.caller) if more else None)

    @get("/{id:uuid}", operation_id="GetNotification", summary="Detail")
    async def one(self, id: FromPath[UUID], request: JsonRequest, wait_for: WaitFor = None) -> NotificationDetail:
        demand(request.caller, Scope.READ)
        return detail(await _row(request.parts, request.caller, id, wait_for))

    @get("/{id:uuid}/status", operation_id="GetDeliveryStatus", summary="Delivery status with every attempt")
    async def status(self, id: FromPath[UUID], request: JsonRequest, wait_for: WaitFor = None) -> DeliveryStatus:
        demand(request.caller, Scope.READ)
        row = await _row(request.parts, request.caller, id, wait_for)
        return delivery_status(row, await request.parts.reader.attempts(request.caller.tenant, id))

    @get("/{id:uuid}/events", operation_id="GetAuditTrail", summary="Audit trail")
    async def events(self, id: FromPath[UUID], request: JsonRequest, wait_for: WaitFor = None) -> list[AuditEvent]:
        """Every event of this notification, read from the log itself, which never has to be waited for. Of a webhook,
        `url` and `response` are shown to keys with the scope `webhooks`."""
        demand(request.caller, Scope.READ)
        history = await request.parts.store.history(id)
        first: Any = history[0].event if history else None
        if not isinstance(first, Notification.Event) or first.tenant != request.caller.tenant:
            raise NotFoundError(f"there is no notification {id}")
        endpoint = first.channel is not Channel.WEBHOOK or Scope.WEBHOOKS in request.caller.scopes
        return [audit_event(recorded, endpoint=endpoint) for recorded in history]

    @get("/{id:uuid}/proof", operation_id="ProveNotification", summary="Proof of what was sent")
    async def proof(self, id: FromPath[UUID], request: JsonRequest) -> Proof:
        """The message of each call is made again, from the text and the variables as they were accepted, and compared
        with the digest recorded before the call. `reason_code` says why where it does not match."""
        demand(request.caller, Scope.READ)
        return await request.parts.prove(id, request.caller.tenant)

    @get("/{id:uuid}/explain", operation_id="ExplainNotification", summary="Why it was, or was not, sent")
    async def explain(
        self,
        id: FromPath[UUID],
        request: JsonRequest,
        as_of: Annotated[datetime | None, QueryParameter(name="as_of", required=False)] = None,
    ) -> Explanation:
        """In words and in data: where it stood, each step that led there, and what its reader wished, now or as of a
        moment. Read from the log itself, which never has to be waited for."""
        demand(request.caller, Scope.READ)
        return await request.parts.explain(id, request.caller.tenant, _told_everywhere("as_of", as_of))

    @post("/{id:uuid}/cancel", status_code=200, operation_id="CancelNotification", summary="Cancel before it is sent")
    async def cancel(self, id: FromPath[UUID], request: JsonRequest) -> CancelAnswer:
        """`cancelled` means that it has not gone out and no provider will be called for it; else it is `too_late`."""
        demand(request.caller, Scope.SEND)
        return await request.parts.cancel(CancelNotification(id), request.caller)

    @post("/{id:uuid}/retry", status_code=202, operation_id="RetryNotification", summary="Send once more")
    async def retry(self, id: FromPath[UUID], request: JsonRequest) -> RetryAnswer:
        """Only what failed, bounced or expired. What is in a digest is sent again with it: retry its `digest_id`."""
        demand(request.caller, Scope.SEND)
        return await request.parts.retry(RetryNotification(id), request.caller)


InternalCommand = SendEmail | SendNotification | SendWebhook | RetryNotification | CancelNotification


class InternalController(Controller):
    path = "/internal"
    tags = ["Service to service"]  # noqa: RUF012 - the form that Litestar asks for

    @post("/send", status_code=202, operation_id="InternalSend", summary="A send, or a single command")
    async def internal_send(
        self, data: JSONBody[InternalCommand], request: JsonRequest, key: Key = None
    ) -> SendAnswer | EventAnswer | RetryAnswer | CancelAnswer:
        """Without `command` the body is that of a send."""
        demand(request.caller, Scope.INTERNAL)
        match data:
            case RetryNotification():
                return await request.parts.retry(data, request.caller)
            case CancelNotification():
                return await request.parts.cancel(data, request.caller)
            case SendWebhook():
                return await request.parts.webhook_uses.send(data, request.caller)
        command = data.as_send() if isinstance(data, SendEmail) else data
        return note_accepted(
            request, await request.parts.send(command, request.caller, await idempotency(request, key))
        )


async def idempotency(request: JsonRequest, key: str | None) -> IdempotencyKey | None:
    return IdempotencyKey(key, request.parts.fingerprint(await request.body())) if key else None


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


def _told_everywhere(name: str, moment: datetime | None) -> datetime | None:
    """Without an offset it would be read in the zone of the database server."""
    if moment and moment.tzinfo is None:
        raise InvalidCommandError([Problem(name, "must have an offset, such as Z or +02:00")])
    return moment


def _as_stored(address: str | None) -> str | None:
    """However the domain of an address was written, it is stored in one form."""
    try:
        return address and email_address(address)
    except InvalidAddressError:
        return address


class _Place(msgspec.Struct, frozen=True, array_like=True):
    tenant: str
    before: UUID


def cursor_at(id: UUID, caller: Caller) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(_Place(caller.tenant, id))).decode().rstrip("=")


def place_of(cursor: str, caller: Caller) -> UUID:
    """Where the page begins. Raises InvalidCommandError for what is no cursor of this tenant's."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        place = msgspec.msgpack.decode(raw, type=_Place)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        place = None
    if place is None or place.tenant != caller.tenant:
        raise InvalidCommandError([Problem("cursor", "is not a cursor that you were given")])
    return place.before
