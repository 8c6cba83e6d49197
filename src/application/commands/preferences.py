"""What users may choose: what they hear, when, how, and where they are reached."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, time
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from application.addresses import InvalidAddressError, address_of
from application.caller import Caller
from application.faults import fault_of, is_locale, is_time_zone
from application.ports.log import ConflictError, EventStore, Persons
from application.ports.time_and_chance import Clock, Dice
from application.problems import InvalidCommandError, NotFoundError, Problem
from application.queries.preferences import GivenChoice, GivenQuietHours, UserPreferences, shown
from application.readers import AddressDigest
from domain.ids import preferences_id, suppression_id
from domain.personal import ConsentedAddress, Listed
from domain.preferences import Choice, Preferences, Wishes
from domain.suppression import Suppression
from domain.vocabulary import Channel, Ground
from domain.wall_clock import QuietHours

_TRIES = 5

Name = Annotated[str, Meta(min_length=1, max_length=100)]


class UpdatePreferences(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that the user wishes: what is not said is not wished any more. What is off anywhere is off."""

    language: Annotated[str, Meta(max_length=35, description="To write in, such as de")] | None = None
    time_zone: Annotated[str, Meta(max_length=64, description="An IANA name such as Europe/Berlin")] | None = None
    quiet_hours: GivenQuietHours | None = None
    channels: Annotated[dict[Channel, bool], Meta(description="On or off, whatever it is about")] = {}
    categories: dict[Name, GivenChoice] = {}
    types: dict[Name, GivenChoice] = {}


class ChangePreferences(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said is changed, all else stays; null takes a wish back. What is wished of one type is set as a whole."""

    language: Annotated[str, Meta(max_length=35)] | UnsetType | None = UNSET
    time_zone: Annotated[str, Meta(max_length=64)] | UnsetType | None = UNSET
    quiet_hours: GivenQuietHours | UnsetType | None = UNSET
    channels: dict[Channel, bool | None] = {}
    categories: dict[Name, GivenChoice | None] = {}
    types: dict[Name, GivenChoice | None] = {}


class Unsubscribe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one category, or of all that can be switched off; a user of yours, an address, or both."""

    user_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    address: Annotated[str, Meta(min_length=1, max_length=4096, description="Of the channel")] | None = None
    channel: Channel = Channel.EMAIL
    category: Name | None = None


class Consent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it is known that the user agreed to be reached there."""

    source: Annotated[str, Meta(min_length=1, max_length=200, description="Where it was given, such as signup")]
    text: Annotated[str, Meta(max_length=5_000, description="Exactly what was shown")] | None = None
    ip: Annotated[str, Meta(max_length=45, description="The address it was given from")] | None = None
    given_at: Annotated[datetime, Meta(tz=True, description="Default: now")] | None = None


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address where a user of yours can be reached from now on."""

    user_id: Annotated[str, Meta(min_length=1, max_length=200)]
    channel: Channel
    address: Annotated[
        str, Meta(min_length=1, max_length=4096, description="Of the channel: email, phone or device token")
    ]
    consent: Consent


class PreferencesAnswer(msgspec.Struct, frozen=True):
    position: int
    preferences: UserPreferences


class SubscribeAnswer(msgspec.Struct, frozen=True):
    id: UUID
    position: int


class UnsubscribeAnswer(msgspec.Struct, frozen=True):
    """Nothing of it is sent any more from the moment of this answer on."""

    position: int


async def update_preferences(
    command: UpdatePreferences, user: str, caller: Caller, *, events: EventStore, clock: Clock
) -> PreferencesAnswer:
    """Raises InvalidCommandError naming every fault."""
    _refuse([*_faults_of_user(user), *_faults(command)])
    wishes = Wishes(
        language=command.language,
        time_zone=command.time_zone,
        quiet_hours=_quiet_hours(command.quiet_hours),
        channels=command.channels,
        categories={name: _choice(given) for name, given in command.categories.items()},
        types={name: _choice(given) for name, given in command.types.items()},
    )
    return await _adopted(user, caller, events, clock, lambda _: wishes)


async def change_preferences(
    command: ChangePreferences, user: str, caller: Caller, *, events: EventStore, clock: Clock
) -> PreferencesAnswer:
    """Raises InvalidCommandError naming every fault."""
    _refuse([*_faults_of_user(user), *_faults(command)])

    def changed(wishes: Wishes) -> Wishes:
        quiet = command.quiet_hours
        return Wishes(
            language=wishes.language if command.language is UNSET else command.language,
            time_zone=wishes.time_zone if command.time_zone is UNSET else command.time_zone,
            quiet_hours=wishes.quiet_hours if quiet is UNSET else _quiet_hours(quiet),
            channels=_merged(wishes.channels, command.channels),
            categories=_merged(wishes.categories, _choices(command.categories)),
            types=_merged(wishes.types, _choices(command.types)),
        )

    return await _adopted(user, caller, events, clock, changed)


async def unsubscribe(
    command: Unsubscribe,
    caller: Caller,
    source: str = "api",
    *,
    events: EventStore,
    persons: Persons,
    digest: AddressDigest,
    clock: Clock,
) -> UnsubscribeAnswer:
    """Once this has answered, nothing of it is sent any more, also of what was accepted before."""
    _refuse(_faults_of_unsubscribing(command))
    for _ in range(_TRIES):
        now = clock.now()
        changed: list[Any] = []
        if command.user_id:
            preferences = await _of(command.user_id, caller, events, now)
            preferences.adopt(_without(preferences.wishes, command), now=now, by=caller.by)
            changed.append(preferences)
        if command.address:
            address = address_of(command.channel, command.address)
            known = digest(caller.tenant, command.channel, address)
            suppression = await events.get(Suppression, suppression_id(caller.tenant, command.channel, known))
            if suppression is None:
                listed = Listed(person=persons.person(caller.tenant, address), address=address)
                suppression = Suppression.begin(caller.tenant, command.channel, known, listed, now=now, by=caller.by)
            suppression.add(Ground.UNSUBSCRIBE, category=command.category, source=source, now=now, by=caller.by)
            changed.append(suppression)
        try:
            return UnsubscribeAnswer(await events.save(*changed))
        except ConflictError:
            continue
    raise ConflictError("the preferences keep changing")


async def subscribe(
    command: Subscribe, caller: Caller, *, events: EventStore, persons: Persons, clock: Clock, dice: Dice
) -> SubscribeAnswer:
    """Raises InvalidCommandError naming every fault, and TooManyContactsError."""
    _refuse([*_faults_of_user(command.user_id), *_faults_of_address(command.channel, command.address)])
    _refuse(_nul("consent.source", command.consent.source))
    address = address_of(command.channel, command.address)
    consent = command.consent
    for _ in range(_TRIES):
        now = clock.now()
        preferences = await _of(command.user_id, caller, events, now)
        given = ConsentedAddress(
            person=persons.person(caller.tenant, address), address=address, text=consent.text, ip=consent.ip
        )
        id = preferences.add_contact(
            dice.id(),
            command.channel,
            given,
            consent.source,
            given_at=consent.given_at or now,
            now=now,
            by=caller.by,
        )
        try:
            return SubscribeAnswer(id, await events.save(preferences))
        except ConflictError:
            continue
    raise ConflictError("the preferences keep changing")


async def remove_contact(id: UUID, user: str, caller: Caller, *, events: EventStore, clock: Clock) -> PreferencesAnswer:
    """Raises NoSuchContactError."""
    preferences = await events.get(Preferences, preferences_id(caller.tenant, user))
    if preferences is None:
        raise NotFoundError(f"there is no such address: {id}")
    preferences.remove_contact(id, now=clock.now(), by=caller.by)
    return PreferencesAnswer(await events.save(preferences), shown(user, preferences))


async def _adopted(
    user: str, caller: Caller, events: EventStore, clock: Clock, wished: Callable[[Wishes], Wishes]
) -> PreferencesAnswer:
    """On top of whatever was changed at the same moment."""
    for _ in range(_TRIES):
        now = clock.now()
        preferences = await _of(user, caller, events, now)
        preferences.adopt(wished(preferences.wishes), now=now, by=caller.by)
        try:
            return PreferencesAnswer(await events.save(preferences), shown(user, preferences))
        except ConflictError:
            continue
    raise ConflictError("the preferences keep changing")


async def _of(user: str, caller: Caller, events: EventStore, now: datetime) -> Preferences:
    found = await events.get(Preferences, preferences_id(caller.tenant, user))
    return found or Preferences.begin(caller.tenant, user, now=now, by=caller.by)


def _without(wishes: Wishes, command: Unsubscribe) -> Wishes:
    if command.category is None:
        return wishes.with_channel(command.channel, False)
    return wishes.with_category(command.category, command.channel, False)


def _quiet_hours(given: GivenQuietHours | None) -> QuietHours | None:
    return QuietHours(time.fromisoformat(given.starts), time.fromisoformat(given.ends)) if given else None


def _choice(given: GivenChoice) -> Choice:
    return Choice(enabled=given.enabled, channels=given.channels, frequency=given.frequency)


def _choices(given: Mapping[str, GivenChoice | None]) -> dict[str, Choice | None]:
    return {name: None if each is None else _choice(each) for name, each in given.items()}


def _merged(known: Mapping[Any, Any], given: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in {**known, **given}.items() if value is not None}


def _refuse(problems: Iterator[Problem] | list[Problem]) -> None:
    if found := list(problems):
        raise InvalidCommandError(found)


def _nul(path: str, value: Any) -> Iterator[Problem]:
    if message := fault_of(value):
        yield Problem(path, message)


def _faults_of_user(user: str) -> Iterator[Problem]:
    yield from _nul("user_id", user)


def _faults(command: UpdatePreferences | ChangePreferences) -> Iterator[Problem]:
    if command.language and not is_locale(command.language):
        yield Problem("language", "must be a language tag such as de or pt-BR")
    if command.time_zone and not is_time_zone(command.time_zone):
        yield Problem("time_zone", "must be an IANA time zone such as Europe/Berlin")
    if command.quiet_hours and command.quiet_hours.starts == command.quiet_hours.ends:
        yield Problem("quiet_hours.ends", "must be another time than they start")
    yield from _nul("categories", command.categories)
    yield from _nul("types", command.types)


def _faults_of_unsubscribing(command: Unsubscribe) -> Iterator[Problem]:
    if command.user_id is None and command.address is None:
        yield Problem("user_id", "is needed, or an address")
    yield from _nul("user_id", command.user_id)
    yield from _nul("category", command.category)
    if command.address:
        yield from _faults_of_address(command.channel, command.address)


def _faults_of_address(channel: Channel, address: str) -> Iterator[Problem]:
    try:
        address_of(channel, address)
    except InvalidAddressError as error:
        yield Problem("address", str(error))
