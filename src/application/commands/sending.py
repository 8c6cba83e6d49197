"""What may be asked to be sent, and everything that can be wrong with it."""

from collections.abc import Iterator, Mapping
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from application.addresses import InvalidAddressError, email_address
from application.caller import Caller
from application.faults import NUL_FAULT, fault_of, is_locale, is_time_zone
from application.ports.templates import CurrentTexts
from application.problems import InvalidCommandError, Problem
from application.readers import ReaderLinks, Who
from domain.headers import UnsafeHeaderError, check_header
from domain.personal import ConsentedAddress
from domain.preferences import Preferences, Wishes
from domain.template import (
    CurrentTemplate,
    InvalidVariablesError,
    NotificationType,
    UnknownTemplateError,
    check_variables,
)
from domain.vocabulary import Channel, Priority, Purpose

MOST_RECIPIENTS = 1_000
LINK = "unsubscribe_url"
"""A variable that is ours to give where the sender does not: each reader has a link of their own."""


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


class Addressee(msgspec.Struct, frozen=True):
    """One address to write to. `place`: which it is of all pairs of a recipient and a channel, in their order."""

    recipient: Recipient
    channel: Channel
    address: str
    template: CurrentTemplate
    time_zone: str | None
    place: int


def addressed(
    command: SendNotification,
    caller: Caller,
    templates: CurrentTexts,
    known: Mapping[str, Preferences],
    links: ReaderLinks,
    default_language: str,
    postal_address: str | None,
) -> tuple[list[Addressee], dict[str, Any]]:
    """Everybody to write to, and the variables under their declared names.

    Raises InvalidCommandError, with every problem.
    """
    problems = [*_misfits(command), *_not_to_be_kept(command)]
    chosen: dict[tuple[Channel, str], CurrentTemplate] = {}
    addressees: list[Addressee] = []
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
                addressees += [Addressee(recipient, channel, each, text, zone, place) for each in addresses]
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
    ours = {LINK: links.unsubscribe(_ANYBODY, ""), _POSTAL_ADDRESS: postal_address}
    given = {each.replace("_", "").lower() for each in command.variables}
    added = {
        name: value
        for name, value in ours.items()
        if value and name in type_.variables and name.replace("_", "") not in given
    }
    checked = check_variables(type_, {**command.variables, **added})
    return {name: value for name, value in checked.items() if name != LINK or name not in added}


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
