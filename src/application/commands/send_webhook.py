"""Telling what happened to those who subscribed to it."""

import re
from collections.abc import Iterable, Iterator
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.faults import fault_of
from application.ports.log import ConflictError, EventStore, Persons
from application.ports.time_and_chance import Clock, Dice
from application.ports.webhooks import Interest, Subscriptions
from application.problems import EventIdReusedError, InvalidCommandError, Problem
from application.subscriptions import key_name
from domain.filters import is_event_type, wants
from domain.happening import Addressed, Happening
from domain.ids import happening_id
from domain.notification import Notification
from domain.personal import Letter, Payload
from domain.vocabulary import Channel, Priority, Purpose, Status

_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SendWebhook(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="SendWebhook"
):
    """Say what happened: everybody who subscribed to it is told."""

    type: Annotated[str, Meta(min_length=1, max_length=100, description="What happened, such as order.created")]
    data: Annotated[dict[str, Any], Meta(description="What receivers get as `data`")]
    organization_id: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    id: Annotated[
        Annotated[str, Meta(max_length=64)] | None,
        Meta(description="Your own id of it: sent again with the same one, it is the same event, for ever"),
    ] = None
    occurred_at: Annotated[datetime, Meta(tz=True, description="Default: now")] | None = None


class EventDelivery(msgspec.Struct, frozen=True):
    """To whom an event goes, and the notification that can be asked for."""

    webhook: UUID
    notification: UUID
    status: Status


class EventAnswer(msgspec.Struct, frozen=True):
    """`id` is the event's: receivers get it as `id` and as `webhook-id`. No notifications: nobody subscribed to it.

    `deprecated` is what the catalogue says to use instead of this type, if it does.
    """

    id: str
    position: int
    notifications: list[EventDelivery]
    deprecated: str | None = None


async def send_webhook(
    command: SendWebhook,
    caller: Caller,
    *,
    events: EventStore,
    subscriptions: Subscriptions,
    persons: Persons,
    clock: Clock,
    dice: Dice,
) -> EventAnswer:
    """Keep what happened, with one notification for each who subscribed to it: all are stored before this returns.

    Under an id of the caller's it happens once, for ever; repeated, it gets its first answer. Raises
    InvalidCommandError naming every problem, and EventIdReusedError for a known id of something else.
    """
    problems = list(_faults(command))
    if problems:
        raise InvalidCommandError(problems)
    event_id = command.id or f"evt_{dice.id().hex}"
    if command.id and (answer := await _first_answer(command, caller, events)):
        return answer
    now = clock.now()
    interested = [each for each in await subscriptions.of(caller.tenant) if _is_for(each, command)]
    notifications = [_notification(each, command, event_id, caller, persons, now, dice) for each in interested]
    happening = Happening.tell(
        caller.tenant,
        event_id,
        command.type,
        command.organization_id,
        Payload(person=persons.person(caller.tenant, _organization_key(command.organization_id)), data=command.data),
        [Addressed(to.id, it.id) for to, it in zip(interested, notifications, strict=True)],
        occurred_at=command.occurred_at or now,
        now=now,
        by=caller.by,
    )
    try:
        position = await events.save(*notifications, happening)
    except ConflictError:
        if command.id and (answer := await _first_answer(command, caller, events)):
            return answer
        raise
    return _told(event_id, position, happening.deliveries)


def _organization_key(organization: str | None) -> str:
    """One key for what happens in one organisation: who leaves can be erased at once.

    Keys go by names without regard to capitals, as addresses do; organisations do not.
    """
    name = organization or ""
    return f"happening:{name}" if name == name.strip().lower() else f"happening-in:{name.encode().hex()}"


def _faults(command: SendWebhook) -> Iterator[Problem]:
    if not is_event_type(command.type):
        yield Problem("type", "must be letters, figures and underscores joined by dots, such as order.created")
    if command.id is not None and not _EVENT_ID.fullmatch(command.id):
        yield Problem("id", "must be up to 64 letters, figures, hyphens and underscores")
    if fault := fault_of(command.data):
        yield Problem("data", fault)
    if fault := fault_of(command.organization_id):
        yield Problem("organization_id", fault)
    if command.occurred_at and not MINYEAR < command.occurred_at.year < MAXYEAR:
        yield Problem("occurred_at", "is too far away to be told in every time zone")


def _is_for(interest: Interest, command: SendWebhook) -> bool:
    if interest.organization not in (None, command.organization_id):
        return False
    return wants(interest.event_types, interest.filters, command.type, command.data)


def _notification(
    interest: Interest,
    command: SendWebhook,
    event_id: str,
    caller: Caller,
    persons: Persons,
    now: datetime,
    dice: Dice,
) -> Notification:
    return Notification.queue(
        dice.id(),
        tenant=caller.tenant,
        channel=Channel.WEBHOOK,
        type=command.type,
        category=command.type.partition(".")[0],
        purpose=Purpose.TRANSACTIONAL,
        priority=Priority.MEDIUM,
        request=happening_id(caller.tenant, event_id),
        letter=Letter(person=persons.person(caller.tenant, key_name(interest.id)), address=str(interest.id)),
        template=None,
        now=now,
        by=caller.by,
        locale="en",
        subscription=interest.id,
        happening=happening_id(caller.tenant, event_id),
    )


async def _first_answer(command: SendWebhook, caller: Caller, events: EventStore) -> EventAnswer | None:
    """The answer given when this event was first told of, or None if it was not."""
    assert command.id
    history = await events.history(happening_id(caller.tenant, command.id))
    if not history:
        return None
    told: Any = history[0].event
    if not _is_the_same(command, told):
        raise EventIdReusedError(f"the id was used on {told.timestamp:%Y-%m-%d} for another event")
    return _told(told.event_id, history[0].position, told.deliveries)


def _is_the_same(command: SendWebhook, told: Any) -> bool:
    """What was erased meanwhile cannot be compared, and is believed."""
    if (command.type, command.organization_id) != (told.type, told.organization):
        return False
    if command.occurred_at not in (None, told.occurred_at):
        return False
    return not isinstance(told.personal, Payload) or _as_json(told.personal.data) == _as_json(command.data)


def _as_json(data: dict[str, Any]) -> bytes:
    """In which true is not 1, as it is in Python."""
    return msgspec.json.encode(data, order="deterministic")


def _told(event_id: str, position: int, deliveries: Iterable[Addressed]) -> EventAnswer:
    """As it was accepted, whatever became of it since."""
    return EventAnswer(
        event_id, position, [EventDelivery(to.subscription, to.notification, Status.PENDING) for to in deliveries]
    )
