"""Accept messages for delivery: one or many recipients, one or many channels, all or none."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import MAXYEAR, MINYEAR, datetime, time, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from application.addresses import InvalidAddressError, email_address
from application.caller import Caller
from application.faults import NUL_FAULT, fault_of, is_locale, is_time_zone
from application.ports.log import ConflictError, EventStore, Persons
from application.ports.templates import CurrentTexts
from application.ports.time_and_chance import Clock, Dice
from application.problems import InvalidCommandError, KeyReusedError, Problem
from application.readers import ReaderLinks, Readers, Who
from application.repetitions import Sayings, say_once
from domain.acceptance import Acceptance, Told
from domain.headers import UnsafeHeaderError, check_header
from domain.ids import acceptance_id
from domain.notification import Notification
from domain.own_template import is_own_name
from domain.personal import ConsentedAddress, Letter
from domain.preferences import Preferences, Wishes
from domain.template import (
    CurrentTemplate,
    InvalidVariablesError,
    NotificationType,
    UnknownTemplateError,
    check_variables,
)
from domain.vocabulary import Channel, Priority, Purpose, Reason, Status

MOST_RECIPIENTS = 1_000
_TRIES = 5


class Recipient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to reach: a user of yours, an address of the channel, or both."""

    user_id: Annotated[str, Meta(min_length=1, max_length=200, description="Your own id of them")] | None = None
    email: Annotated[str, Meta(max_length=320, description="For the channel email")] | None = None
    phone: Annotated[str, Meta(max_length=20, description="For the channel sms, such as +4930123456")] | None = None
    device_token: Annotated[str, Meta(max_length=4096, description="For the channel push")] | None = None
    name: Annotated[str, Meta(max_length=200, description="Shown beside the address")] | None = None
    locale: Annotated[str, Meta(max_length=35, description="The language to write in, such as de")] | None = None
    time_zone: Annotated[str, Meta(max_length=64, description="An IANA name such as Europe/Berlin")] | None = None


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the wish to send comes from; handed back with the notification."""

    source: Annotated[str, Meta(max_length=200, description="Which part of yours sends it")] | None = None
    correlation_id: Annotated[str, Meta(max_length=200, description="What it belongs to, say an order")] | None = None
    metadata: Annotated[dict[str, Any], Meta(description="Whatever else is of use to you")] = {}


class _Sending(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Annotated[str, Meta(min_length=1, max_length=100, description="What is said, such as welcome")]
    variables: Annotated[dict[str, Any], Meta(description="What the type declares; all that it requires")] = {}
    priority: Annotated[Priority | None, Meta(description="Default: that of the type")] = None
    category: Annotated[
        Annotated[str, Meta(min_length=1, max_length=100)] | None,
        Meta(description="What readers choose by; default: that of the type"),
    ] = None
    scheduled_local: Annotated[
        Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] | None,
        Meta(description="At this time by each recipient's clock, such as 09:00"),
    ] = None
    scheduled_at: Annotated[datetime, Meta(tz=True, description="Not before this moment")] | None = None
    expires_at: Annotated[datetime, Meta(tz=True, description="Not from this moment on")] | None = None
    context: Context = Context()


class SendNotification(
    _Sending, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="SendNotification"
):
    """Say one thing to up to 1,000 recipients by each of the channels."""

    recipients: Annotated[list[Recipient], Meta(min_length=1, max_length=MOST_RECIPIENTS)]
    channels: Annotated[
        list[Channel], Meta(min_length=1, max_length=len(Channel), description="Default: email alone")
    ] = msgspec.field(default_factory=lambda: [Channel.EMAIL])


class SendEmail(_Sending, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="command", tag="SendEmail"):
    """Say one thing to one recipient by email."""

    recipient: Recipient

    def as_send(self) -> SendNotification:
        given = {name: getattr(self, name) for name in _Sending.__struct_fields__}
        return SendNotification(**given, recipients=[self.recipient], channels=[Channel.EMAIL])


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


class _Addressee(msgspec.Struct, frozen=True):
    recipient: Recipient
    channel: Channel
    address: str
    template: CurrentTemplate
    time_zone: str | None
    place: int


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
        addressees, variables = _checked(command, caller, templates, known, links, default_language, postal_address)
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
    to: _Addressee,
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
    notifications: list[Notification], addressees: list[_Addressee], told: list[Told]
) -> list[AcceptedNotification]:
    return [
        AcceptedNotification(n.id, n.channel, to.recipient, said.status, said.reason, said.until, said.duplicate_of)
        for n, to, said in zip(notifications, addressees, told, strict=True)
    ]


def _letter(
    to: _Addressee,
    command: SendNotification,
    variables: dict[str, Any],
    caller: Caller,
    links: ReaderLinks,
    persons: Persons,
) -> Letter:
    type_ = to.template.type
    who = Who(caller.tenant, to.channel, to.address, to.recipient.user_id)
    link = links.unsubscribe(who, command.category or type_.category) if _may_be_left(type_, command, to) else None
    if link and _LINK in type_.variables:
        variables = {_LINK: link, **variables}
    return Letter(
        person=persons.person(caller.tenant, to.address),
        address=to.address,
        name=to.recipient.name,
        variables=variables,
        metadata=command.context.metadata,
        unsubscribe_url=link,
    )


_LINK = "unsubscribe_url"
"""The variable that is ours to give where the sender does not."""

_SUBSCRIPTION = "subscription"


def _may_be_left(type_: NotificationType, command: SendNotification, to: _Addressee) -> bool:
    """Advertising, and what readers have subscribed to."""
    advertising = type_.purpose is Purpose.MARKETING
    return to.channel is Channel.EMAIL and (advertising or (command.category or type_.category) == _SUBSCRIPTION)


def _told(notifications: list[Notification], addressees: list[_Addressee], *, each_one: bool) -> Iterator[Told]:
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


def _checked(
    command: SendNotification,
    caller: Caller,
    templates: CurrentTexts,
    known: Mapping[str, Preferences],
    links: ReaderLinks,
    default_language: str,
    postal_address: str | None,
) -> tuple[list[_Addressee], dict[str, Any]]:
    """Everybody to write to, and the variables under their declared names."""
    problems = [*_misfits(command), *_not_to_be_kept(command)]
    chosen: dict[tuple[Channel, str], CurrentTemplate] = {}
    addressees: list[_Addressee] = []
    for i, recipient in enumerate(command.recipients):
        problems += _odd_wishes(recipient, f"recipients[{i}]")
        if "\0" in (recipient.user_id or ""):
            problems.append(Problem(f"recipients[{i}].user_id", NUL_FAULT))
        preferences = known.get(recipient.user_id or "")
        wishes = preferences.wishes if preferences else _NOTHING_WISHED
        for place, channel in enumerate(command.channels, i * len(command.channels)):
            locale = recipient.locale or wishes.language or default_language
            try:
                if (channel, locale) not in chosen:
                    chosen[channel, locale] = templates.current(caller.tenant, command.type, channel, locale)
                addresses = _addresses(recipient, channel, preferences)
            except UnknownTemplateError as error:
                raise InvalidCommandError([*problems, Problem("type", str(error))]) from None
            except InvalidAddressError as error:
                problems.append(Problem(f"recipients[{i}].{_FIELDS.get(channel, 'email')}", str(error)))
            else:
                zone = recipient.time_zone or wishes.time_zone
                text = chosen[channel, locale]
                addressees += [_Addressee(recipient, channel, each, text, zone, place) for each in addresses]
    variables = command.variables
    try:
        if chosen:
            variables = _variables(next(iter(chosen.values())).type, command, links, postal_address)
    except InvalidVariablesError as error:
        problems += [Problem(f"variables.{p.variable}", p.message) for p in error.problems]
    if problems:
        raise InvalidCommandError(problems)
    return addressees, variables


def _variables(
    type_: NotificationType, command: SendNotification, links: ReaderLinks, postal_address: str | None
) -> dict[str, Any]:
    """Under their declared names. What advertising must show is ours where the sender does not give it."""
    if type_.purpose is not Purpose.MARKETING:
        return check_variables(type_, command.variables)
    ours = {_LINK: links.unsubscribe(_ANYBODY, ""), _POSTAL_ADDRESS: postal_address}
    given = {each.replace("_", "").lower() for each in command.variables}
    added = {
        name: value
        for name, value in ours.items()
        if value and name in type_.variables and name.replace("_", "") not in given
    }
    checked = check_variables(type_, {**command.variables, **added})
    return {name: value for name, value in checked.items() if name != _LINK or name not in added}


_ANYBODY = Who("", Channel.EMAIL, "")
_POSTAL_ADDRESS = "postal_address"


def _misfits(command: SendNotification) -> Iterator[Problem]:
    if len(set(command.channels)) < len(command.channels):
        yield Problem("channels", "names a channel twice")
    for name, moment in (("scheduled_at", command.scheduled_at), ("expires_at", command.expires_at)):
        if moment and not MINYEAR < moment.year < MAXYEAR:
            yield Problem(name, "is too far away to be told in every time zone")
    if command.expires_at and command.scheduled_at and command.expires_at <= command.scheduled_at:
        yield Problem("expires_at", "must be later than scheduled_at")


def _not_to_be_kept(command: SendNotification) -> Iterator[Problem]:
    """What the database would refuse or could not give back, whichever way the command came in."""
    context = command.context
    for path, value in (
        ("variables", command.variables),
        ("category", command.category),
        ("context.source", context.source),
        ("context.correlation_id", context.correlation_id),
        ("context.metadata", context.metadata),
    ):
        if value and (message := fault_of(value)):
            yield Problem(path, message)


_FIELDS = {Channel.EMAIL: "email", Channel.SMS: "phone", Channel.PUSH: "device_token"}


def _addresses(recipient: Recipient, channel: Channel, preferences: Preferences | None) -> list[str]:
    """The one that was given, else those of the user's that are written to."""
    if channel is not Channel.EMAIL:
        raise InvalidAddressError(f"the channel {channel} is not available yet")
    if recipient.email is not None:
        return [email_address(recipient.email)]
    contacts = preferences.written_to(channel) if preferences else []
    if not contacts:
        unknown = ", as no address of the user is known" if recipient.user_id else ""
        raise InvalidAddressError(f"is needed for the channel email{unknown}")
    return [each.personal.address for each in contacts if isinstance(each.personal, ConsentedAddress)]


_NOTHING_WISHED = Wishes()


def _odd_wishes(recipient: Recipient, path: str) -> Iterator[Problem]:
    if recipient.locale and not is_locale(recipient.locale):
        yield Problem(f"{path}.locale", "must be a language tag such as de or pt-BR")
    if recipient.time_zone and not is_time_zone(recipient.time_zone):
        yield Problem(f"{path}.time_zone", "must be an IANA time zone such as Europe/Berlin")
    if recipient.name:
        try:
            check_header(recipient.name)
        except UnsafeHeaderError as error:
            yield Problem(f"{path}.name", str(error))
