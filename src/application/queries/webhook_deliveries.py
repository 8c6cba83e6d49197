"""What was sent to an endpoint, and what it answered."""

import asyncio
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from application import message
from application.caller import Caller
from application.ports.log import EventStore, Recorded
from application.ports.time_and_chance import Clock
from application.projections.notifications import NotificationRow
from application.queries.notifications import ListNotifications, NotificationReader
from application.subscriptions import own_subscription
from domain.happening import Happening
from domain.notification import Notification
from domain.personal import Endpoint, Envelope, Payload, Remark, Response
from domain.subscription import WebhookSubscription
from domain.vocabulary import Channel, Reason, Status

Sign = Callable[[str, int, bytes, Sequence[str]], Mapping[str, str]]
"""The headers that prove a body: of its id, the seconds since 1970, the bytes, and the secrets."""

_MASK = "•••"
_LONGEST_DATA = 64 * 1024
_FEW = 4
_MOST_BYTES = 4 * 1024 * 1024


class WebhookAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One call: where to, when, and what came of it. `response` is null when nothing was answered."""

    call: int
    attempt: int
    started_at: datetime
    url: str | None
    status: str
    reason_code: Reason | None
    error_message: str | None
    response: Response | None


class WebhookDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event to one endpoint. `curl` sends it by hand, signed as of now, without the values of your own headers.

    Where the line would be long, it reads the bytes that were sent from a file `body`.
    """

    id: UUID
    event_id: str | None
    type: str
    status: Status
    reason_code: Reason | None
    created_at: datetime
    next_attempt_at: datetime | None
    retry_count: int
    attempts: list[WebhookAttempt]
    curl: str | None


class DeliveryPage(msgspec.Struct, frozen=True):
    deliveries: list[WebhookDelivery]
    next_cursor: str | None


async def deliveries(
    id: UUID,
    caller: Caller,
    *,
    status: Status | None,
    before: UUID | None,
    limit: int,
    events: EventStore,
    reader: NotificationReader,
    sign: Sign,
    clock: Clock,
) -> tuple[list[WebhookDelivery], bool]:
    """Newest first, those before the one the last page ended with; with every attempt as the log has it.

    And whether there are more: after `limit`, or after 4 MiB. Raises NotFoundError.
    """
    subscription = await own_subscription(id, caller, events)
    query = ListNotifications(channel=Channel.WEBHOOK, recipient=str(id), status=status, before=before, limit=limit + 1)
    rows = await reader.page(caller.tenant, query)
    shown: list[WebhookDelivery] = []
    size = 0
    for start in range(0, min(limit, len(rows)), _FEW):
        few = rows[start : min(limit, start + _FEW)]
        for each in await _deliveries(few, subscription, events, sign, clock.now()):
            size += len(msgspec.json.encode(each))
            if shown and size > _MOST_BYTES:
                return shown, True
            shown.append(each)
    return shown, len(rows) > limit


async def _deliveries(
    rows: Sequence[NotificationRow], subscription: WebhookSubscription, events: EventStore, sign: Sign, now: datetime
) -> list[WebhookDelivery]:
    histories = await asyncio.gather(*(events.history(row.id) for row in rows))
    happenings = await events.get_many(Happening, {each for history in histories if (each := _happening(history))})
    return [
        _delivery(row, history, happenings.get(_happening(history)), subscription, sign, now)
        for row, history in zip(rows, histories, strict=True)
    ]


def by_curl(url: str, body: bytes, headers: Iterable[str], signatures: Mapping[str, str]) -> str:
    """One line for a shell; of the receiver's own headers only the names are told. Long data are read from a file."""
    said = {"Content-Type": "application/json", **signatures, **dict.fromkeys(headers, _MASK)}
    lines = [shlex.quote(f"{name}: {value}") for name, value in said.items()]
    data = f"--data-raw {shlex.quote(body.decode())}"
    if len(data) > _LONGEST_DATA:
        data = "--data-binary @body"
    return f"curl --globoff {shlex.quote(url)} {data} -H " + " -H ".join(lines)


def _happening(history: Sequence[Recorded]) -> Any:
    return getattr(history[0].event, "happening", None) if history else None


def _delivery(
    row: NotificationRow,
    history: Sequence[Recorded],
    happening: Happening | None,
    subscription: WebhookSubscription,
    sign: Sign,
    now: datetime,
) -> WebhookDelivery:
    return WebhookDelivery(
        id=row.id,
        event_id=happening.event_id if happening else None,
        type=row.type,
        status=row.status,
        reason_code=row.reason_code,
        created_at=row.created_at,
        next_attempt_at=row.next_attempt_at,
        retry_count=row.retry_count,
        attempts=_attempts([recorded.event for recorded in history]),
        curl=_again(happening, subscription, sign, now) if happening else None,
    )


def _again(happening: Happening, subscription: WebhookSubscription, sign: Sign, now: datetime) -> str | None:
    endpoint = subscription.endpoint
    if not (isinstance(happening.payload, Payload) and isinstance(endpoint, Endpoint)):
        return None
    body = message.webhook(happening)
    signatures = sign(happening.event_id, int(now.timestamp()), body, endpoint.secrets_at(now))
    return by_curl(endpoint.url, body, endpoint.headers, signatures)


def _attempts(events: Iterable[Any]) -> list[WebhookAttempt]:
    calls: dict[int, WebhookAttempt] = {}
    for event in events:
        match event:
            case Notification.Rendered():
                calls[event.call] = _begun(event)
            case Notification.Sent() | Notification.Failed() | Notification.Deferred() if event.call in calls:
                calls[event.call] = _ended(calls[event.call], event)
    return list(calls.values())


def _begun(event: Any) -> WebhookAttempt:
    return WebhookAttempt(
        call=event.call,
        attempt=event.attempt,
        started_at=event.timestamp,
        url=event.personal.url if isinstance(event.personal, Envelope) else None,
        status="started",
        reason_code=None,
        error_message=None,
        response=None,
    )


def _ended(begun: WebhookAttempt, event: Any) -> WebhookAttempt:
    remark = event.personal if isinstance(event.personal, Remark) else None
    return msgspec.structs.replace(
        begun,
        status=_OUTCOMES[type(event)],
        reason_code=getattr(event, "reason", None),
        error_message=remark and (remark.text or None),
        response=remark and remark.response,
    )


_OUTCOMES: Mapping[Any, str] = {
    Notification.Sent: "sent",
    Notification.Failed: "failed",
    Notification.Deferred: "deferred",
}
