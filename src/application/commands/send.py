"""Accept messages for delivery: one or many recipients, one or many channels, all or none."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

import msgspec

from application.caller import Caller
from application.commands.sending import LINK, Addressee, Recipient, SendNotification, addressed
from application.ports.log import ConflictError, EventStore, Persons
from application.ports.templates import CurrentTexts
from application.ports.time_and_chance import Clock, Dice
from application.problems import InvalidCommandError, KeyReusedError
from application.readers import ReaderLinks, Readers, Who
from application.repetitions import Sayings, say_once
from domain.acceptance import Acceptance, Told
from domain.ids import acceptance_id
from domain.notification import Notification
from domain.own_template import is_own_name
from domain.personal import Letter
from domain.template import NotificationType
from domain.vocabulary import Channel, Purpose, Reason, Status

_TRIES = 5


class AcceptedNotification(msgspec.Struct, frozen=True):
    """What is to become of it as things are: it may be `suppressed` for a reason, or wait `until` a moment for one.

    `duplicate_of` is the notification that said the same within your duplicate window.
    """

    id: UUID
    channel: Channel
    recipient: Recipient
    status: Status
    reason_code: Reason | None = None
    until: datetime | None = None
    duplicate_of: UUID | None = None


class SendAnswer(msgspec.Struct, frozen=True):
    """`position` is where the log stands now: reads that wait for it see these notifications."""

    id: UUID
    position: int
    notifications: list[AcceptedNotification]


class IdempotencyKey(msgspec.Struct, frozen=True):
    """The caller's key with a keyed digest of the body it came with."""

    key: str
    body_digest: str


async def send(
    command: SendNotification,
    caller: Caller,
    key: IdempotencyKey | None = None,
    *,
    events: EventStore,
    templates: CurrentTexts,
    own: Callable[[str, str], Awaitable[CurrentTexts]],
    readers: Readers,
    links: ReaderLinks,
    persons: Persons,
    clock: Clock,
    dice: Dice,
    fingerprint: Callable[[bytes], str],
    default_language: str,
    default_time_zone: str,
    postal_address: str | None,
) -> SendAnswer:
    """Accept the command: every notification is stored before this returns, or none is.

    Under a key the same command is accepted once, for ever; repeated, it gets its first answer. Raises
    InvalidCommandError naming every problem, and KeyReusedError for a known key with another body.
    """
    if is_own_name(command.type):
        templates = await own(caller.tenant, command.type)
    users = {recipient.user_id for recipient in command.recipients if recipient.user_id}
    known = await readers.users(caller.tenant, users) if users else {}
    try:
        addressees, variables = addressed(command, caller, templates, known, links, default_language, postal_address)
    except InvalidCommandError:
        if key and (answer := await _first_answer(command, caller, key, events)):
            return answer
        raise
    found = await readers.of([Who(caller.tenant, to.channel, to.address, to.recipient.user_id) for to in addressees])
    rules = (await readers.rules([caller.tenant])).get(caller.tenant)
    places = len(command.recipients) * len(command.channels)
    local = time.fromisoformat(command.scheduled_local) if command.scheduled_local else None
    for _ in range(_TRIES):
        now, request = clock.now(), dice.id()
        notifications = [
            _queued(to, command, variables, request, caller, links, persons, now, dice) for to in addressees
        ]
        for notification, reader in zip(notifications, found, strict=True):
            due = notification.due_at
            decision = reader.decide(notification, max(now, due), default_time_zone, local, ahead=due > now)
            reader.heed(decision, notification, now=now, by=caller.by)
        sayings = _NOTHING_SAID
        if rules and rules.duplicate_window:
            window = timedelta(seconds=rules.duplicate_window)
            sayings = await say_once(
                notifications, window, events=events, fingerprint=fingerprint, now=now, by=caller.by
            )
        told = list(_told(notifications, addressees, each_one=len(addressees) == places))
        acceptance = _acceptance(key, caller, request, notifications, told, now)
        try:
            position = await events.save(*notifications, *sayings.changed, *acceptance, seen=sayings.seen)
        except ConflictError:
            if key and (answer := await _first_answer(command, caller, key, events)):
                return answer
            if not (sayings.changed or sayings.seen):
                raise
            continue  # the same was said at the same moment, or what said it has moved on
        return SendAnswer(request, position, _accepted(notifications, addressees, told))
    raise ConflictError("the same is being said too often at the same moment")


_NOTHING_SAID = Sayings()


def _queued(
    to: Addressee,
    command: SendNotification,
    variables: dict[str, Any],
    request: UUID,
    caller: Caller,
    links: ReaderLinks,
    persons: Persons,
    now: datetime,
    dice: Dice,
) -> Notification:
    return Notification.queue(
        dice.id(),
        tenant=caller.tenant,
        channel=to.channel,
        type=command.type,
        category=command.category or to.template.type.category,
        purpose=to.template.type.purpose,
        priority=command.priority or to.template.type.priority,
        request=request,
        letter=_letter(to, command, variables, caller, links, persons),
        template=to.template.pin,
        now=now,
        by=caller.by,
        locale=to.template.pin.locale,
        recipient_user_id=to.recipient.user_id,
        time_zone=to.time_zone,
        scheduled_at=command.scheduled_at,
        expires_at=command.expires_at,
        source=command.context.source,
        correlation_id=command.context.correlation_id,
        secrets=to.template.type.secrets,
    )


def _accepted(
    notifications: list[Notification], addressees: list[Addressee], told: list[Told]
) -> list[AcceptedNotification]:
    return [
        AcceptedNotification(n.id, n.channel, to.recipient, said.status, said.reason, said.until, said.duplicate_of)
        for n, to, said in zip(notifications, addressees, told, strict=True)
    ]


def _letter(
    to: Addressee,
    command: SendNotification,
    variables: dict[str, Any],
    caller: Caller,
    links: ReaderLinks,
    persons: Persons,
) -> Letter:
    type_ = to.template.type
    who = Who(caller.tenant, to.channel, to.address, to.recipient.user_id)
    link = links.unsubscribe(who, command.category or type_.category) if _may_be_left(type_, command, to) else None
    if link and LINK in type_.variables:
        variables = {LINK: link, **variables}
    return Letter(
        person=persons.person(caller.tenant, to.address),
        address=to.address,
        name=to.recipient.name,
        variables=variables,
        metadata=command.context.metadata,
        unsubscribe_url=link,
    )


_SUBSCRIPTION = "subscription"


def _may_be_left(type_: NotificationType, command: SendNotification, to: Addressee) -> bool:
    """Advertising, and what readers have subscribed to."""
    advertising = type_.purpose is Purpose.MARKETING
    return to.channel is Channel.EMAIL and (advertising or (command.category or type_.category) == _SUBSCRIPTION)


def _told(notifications: list[Notification], addressees: list[Addressee], *, each_one: bool) -> Iterator[Told]:
    for it, to in zip(notifications, addressees, strict=True):
        until = it.due_at if it.status is Status.DEFERRED else None
        yield Told(it.status, it.reason_code, until, it.duplicate_of, None if each_one else to.place)


def _acceptance(
    key: IdempotencyKey | None,
    caller: Caller,
    request: UUID,
    notifications: list[Notification],
    told: list[Told],
    now: datetime,
) -> Iterator[Acceptance]:
    if key:
        ids = [notification.id for notification in notifications]
        yield Acceptance.record(caller.tenant, key.key, key.body_digest, request, ids, by=caller.by, now=now, told=told)


async def _first_answer(
    command: SendNotification, caller: Caller, key: IdempotencyKey, events: EventStore
) -> SendAnswer | None:
    """The answer given when this key was first used, or None if it was not."""
    history = await events.history(acceptance_id(caller.tenant, key.key))
    if not history:
        return None
    accepted: Any = history[0].event
    if accepted.body_digest != key.body_digest:
        raise KeyReusedError(f"the idempotency key was used on {accepted.timestamp:%Y-%m-%d} with another body")
    places = [(recipient, channel) for recipient in command.recipients for channel in command.channels]
    told = accepted.told or [_told_before(command, accepted.timestamp)] * len(places)
    given = []
    for n, (id, said) in enumerate(zip(accepted.notifications, told, strict=True)):
        recipient, channel = places[n if said.place is None else said.place]
        given.append(
            AcceptedNotification(id, channel, recipient, said.status, said.reason, said.until, said.duplicate_of)
        )
    return SendAnswer(accepted.request, history[0].position, given)


def _told_before(command: SendNotification, at: datetime) -> Told:
    """What was said when nothing but the request itself decided."""
    if command.scheduled_at is None or command.scheduled_at <= at:
        return Told(Status.PENDING, None, None)
    return Told(Status.DEFERRED, Reason.SCHEDULED, command.scheduled_at)
