"""What one user of a tenant wants to hear, when, how, and where to be reached."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.domain import Aggregate

from domain.ids import preferences_id
from domain.personal import ConsentedAddress, Erased
from domain.vocabulary import Channel, Frequency
from domain.wall_clock import QuietHours

MOST_CHOICES = 500
MOST_CONTACTS = 50


class TooManyChoicesError(Exception):
    """There is room for so many types and categories and no more."""


class TooManyContactsError(Exception):
    """There is room for so many addresses and no more."""


class NoSuchContactError(Exception):
    """The user has no such address."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen for one type or category: whether it may come, by which channels not, and how often."""

    enabled: bool = True
    channels: dict[Channel, bool] = {}
    frequency: Frequency | None = None

    def allows(self, channel: Channel) -> bool:
        return self.enabled and self.channels.get(channel, True)


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """All that was chosen. What is not there was left to the sender."""

    language: str | None = None
    time_zone: str | None = None
    quiet_hours: QuietHours | None = None
    channels: dict[Channel, bool] = {}
    categories: dict[str, Choice] = {}
    types: dict[str, Choice] = {}

    def frequency(self, type: str | None, category: str) -> Frequency:
        """That of the type, else of its category, else at once."""
        chosen = [self.types.get(type) if type else None, self.categories.get(category)]
        return next((each.frequency for each in chosen if each and each.frequency), Frequency.IMMEDIATE)

    def with_category(self, category: str, channel: Channel, enabled: bool) -> "Wishes":
        """The same with this category switched on or off for this channel."""
        known = self.categories.get(category, Choice())
        channels = {**known.channels, channel: enabled}
        choice = msgspec.structs.replace(known, enabled=known.enabled or enabled, channels=channels)
        return msgspec.structs.replace(self, categories={**self.categories, category: choice})

    def with_frequency(self, category: str, frequency: Frequency) -> "Wishes":
        """The same with this category heard of so often, but for types of it of which something else is said."""
        choice = msgspec.structs.replace(self.categories.get(category, Choice()), frequency=frequency)
        return msgspec.structs.replace(self, categories={**self.categories, category: choice})

    def with_channel(self, channel: Channel, enabled: bool) -> "Wishes":
        return msgspec.structs.replace(self, channels={**self.channels, channel: enabled})


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """Where a user can be reached, and how it is known that the user agreed."""

    id: UUID
    channel: Channel
    source: str
    given_at: datetime
    personal: ConsentedAddress | Erased


class Preferences(Aggregate):
    """Its stream is named by tenant and user, so there is one of each."""

    class Event(Aggregate.Event):
        tenant: str
        user: str
        by: str

    class Begun(Event, Aggregate.Created):
        TOPIC = "preferences.begun"

    class LanguageChosen(Event):
        TOPIC = "preferences.language_chosen"

        language: str | None

        def apply(self, preferences: "Preferences") -> None:
            preferences._wish(language=self.language)

    class TimeZoneChosen(Event):
        TOPIC = "preferences.time_zone_chosen"

        time_zone: str | None

        def apply(self, preferences: "Preferences") -> None:
            preferences._wish(time_zone=self.time_zone)

    class QuietHoursChosen(Event):
        TOPIC = "preferences.quiet_hours_chosen"

        quiet_hours: QuietHours | None

        def apply(self, preferences: "Preferences") -> None:
            preferences._wish(quiet_hours=self.quiet_hours)

    class ChannelChosen(Event):
        """`enabled` None: nothing is chosen any more. The same holds for types and categories."""

        TOPIC = "preferences.channel_chosen"

        channel: Channel
        enabled: bool | None

        def apply(self, preferences: "Preferences") -> None:
            preferences._wish(channels=_with(preferences.wishes.channels, self.channel, self.enabled))

    class CategoryChosen(Event):
        TOPIC = "preferences.category_chosen"

        category: str
        choice: Choice | None

        def apply(self, preferences: "Preferences") -> None:
            preferences._wish(categories=_with(preferences.wishes.categories, self.category, self.choice))

    class TypeChosen(Event):
        TOPIC = "preferences.type_chosen"

        type: str
        choice: Choice | None

        def apply(self, preferences: "Preferences") -> None:
            preferences._wish(types=_with(preferences.wishes.types, self.type, self.choice))

    class ContactAdded(Event):
        TOPIC = "preferences.contact_added"

        contact: UUID
        channel: Channel
        source: str
        given_at: datetime
        personal: ConsentedAddress | Erased

        def apply(self, preferences: "Preferences") -> None:
            preferences.contacts.pop(self.contact, None)  # what is given once more is given last
            preferences.contacts[self.contact] = Contact(
                id=self.contact,
                channel=self.channel,
                source=self.source,
                given_at=self.given_at,
                personal=self.personal,
            )

    class ContactRemoved(Event):
        TOPIC = "preferences.contact_removed"

        contact: UUID

        def apply(self, preferences: "Preferences") -> None:
            preferences.contacts.pop(self.contact, None)

    def __init__(self, tenant: str, user: str) -> None:
        self.tenant = tenant
        self.user = user
        self.wishes = Wishes()
        self.contacts: dict[UUID, Contact] = {}

    @classmethod
    def begin(cls, tenant: str, user: str, *, now: datetime, by: str) -> "Preferences":
        """Those of a user who has chosen nothing yet."""
        return cls._create(cls.Begun, id=preferences_id(tenant, user), timestamp=now, tenant=tenant, user=user, by=by)

    def adopt(self, wishes: Wishes, *, now: datetime, by: str) -> None:
        """Make these the wishes: an event for each thing that differs. Raises TooManyChoicesError."""
        if len(wishes.types) + len(wishes.categories) > MOST_CHOICES:
            raise TooManyChoicesError(f"there is room for {MOST_CHOICES} types and categories")
        old = self.wishes
        if wishes.language != old.language:
            self._trigger(self.LanguageChosen, now, by, language=wishes.language)
        if wishes.time_zone != old.time_zone:
            self._trigger(self.TimeZoneChosen, now, by, time_zone=wishes.time_zone)
        if wishes.quiet_hours != old.quiet_hours:
            self._trigger(self.QuietHoursChosen, now, by, quiet_hours=wishes.quiet_hours)
        for channel, enabled in _changed(old.channels, wishes.channels).items():
            self._trigger(self.ChannelChosen, now, by, channel=channel, enabled=enabled)
        for category, choice in _changed(old.categories, wishes.categories).items():
            self._trigger(self.CategoryChosen, now, by, category=category, choice=choice)
        for type, choice in _changed(old.types, wishes.types).items():
            self._trigger(self.TypeChosen, now, by, type=type, choice=choice)

    def add_contact(
        self,
        id: UUID,
        channel: Channel,
        address: ConsentedAddress,
        source: str,
        *,
        given_at: datetime | None = None,
        now: datetime,
        by: str,
    ) -> UUID:
        """The id it is kept under: `id`, or that of the same address, whose consent is then this one.

        Raises TooManyContactsError.
        """
        id = next((each.id for each in self.reached_by(channel) if _address(each) == address.address), id)
        if id not in self.contacts and len(self.contacts) >= MOST_CONTACTS:
            raise TooManyContactsError(f"there is room for {MOST_CONTACTS} addresses")
        said = {"contact": id, "channel": channel, "source": source, "given_at": given_at or now, "personal": address}
        self._trigger(self.ContactAdded, now, by, **said)
        return id

    def remove_contact(self, id: UUID, *, now: datetime, by: str) -> None:
        """Raises NoSuchContactError."""
        if id not in self.contacts:
            raise NoSuchContactError(f"there is no such address: {id}")
        self._trigger(self.ContactRemoved, now, by, contact=id)

    def reached_by(self, channel: Channel) -> list[Contact]:
        """Where the user can be reached, the oldest first; nothing that was erased."""
        return [
            each
            for each in self.contacts.values()
            if each.channel is channel and isinstance(each.personal, ConsentedAddress)
        ]

    def written_to(self, channel: Channel) -> list[Contact]:
        """Where a message to the user goes: to each device, for nobody knows which of them is at hand; else to the
        address that was given last."""
        known = self.reached_by(channel)
        return known if channel is Channel.PUSH else known[-1:]

    def _wish(self, **changed: Any) -> None:
        self.wishes = msgspec.structs.replace(self.wishes, **changed)

    def _trigger(self, event: type[Event], now: datetime, by: str, **said: object) -> None:
        self.trigger_event(event, timestamp=now, tenant=self.tenant, user=self.user, by=by, **said)


def _address(contact: Contact) -> str | None:
    return contact.personal.address if isinstance(contact.personal, ConsentedAddress) else None


def _with(known: Mapping[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    rest = {each: kept for each, kept in known.items() if each != key}
    return rest if value is None else {**rest, key: value}


def _changed(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> dict[Any, Any]:
    """What is said otherwise now; None where nothing is said any more."""
    return {key: new.get(key) for key in {**old, **new} if old.get(key) != new.get(key)}
