"""What a user wishes, as it is shown: in the form in which it can be given."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.ports.log import EventStore
from domain.ids import preferences_id
from domain.personal import ConsentedAddress
from domain.preferences import Choice, Contact, Preferences, Wishes
from domain.vocabulary import Channel, Frequency

Clock24 = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="Such as 22:00")]


class GivenQuietHours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By the user's clock; over midnight where it ends before it starts. What comes meanwhile waits."""

    starts: Clock24
    ends: Clock24


class GivenChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether it may come at all, by which channels not, and how often.

    All but `immediate` is gathered: by mail one digest goes out on the hour, at nine by the user's clock, or on Mondays
    at nine. What is said of a type counts before what is said of its category. Security, what is critical, and what
    holds a secret such as a code go at once.
    """

    enabled: bool = True
    channels: dict[Channel, bool] = {}
    frequency: Frequency | None = None


class ShownContact(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    channel: Channel
    address: str
    source: str
    text: str | None
    ip: str | None
    given_at: datetime


class UserPreferences(msgspec.Struct, frozen=True, kw_only=True):
    """What a user wishes. Of the contacts of a channel the one given last is written to."""

    user_id: str
    language: str | None
    time_zone: str | None
    quiet_hours: GivenQuietHours | None
    channels: dict[Channel, bool]
    categories: dict[str, GivenChoice]
    types: dict[str, GivenChoice]
    contacts: list[ShownContact]


async def get_preferences(user: str, caller: Caller, *, events: EventStore) -> UserPreferences:
    """Of a user of whom nothing is known, that nothing is wished."""
    found = await events.get(Preferences, preferences_id(caller.tenant, user))
    return shown(user, found)


def shown(user: str, preferences: Preferences | None) -> UserPreferences:
    wishes = preferences.wishes if preferences else Wishes()
    quiet = wishes.quiet_hours
    return UserPreferences(
        user_id=user,
        language=wishes.language,
        time_zone=wishes.time_zone,
        quiet_hours=GivenQuietHours(starts=f"{quiet.starts:%H:%M}", ends=f"{quiet.ends:%H:%M}") if quiet else None,
        channels=wishes.channels,
        categories={name: _shown(choice) for name, choice in wishes.categories.items()},
        types={name: _shown(choice) for name, choice in wishes.types.items()},
        contacts=[_contact(each) for channel in Channel for each in preferences.reached_by(channel)]
        if preferences
        else [],
    )


def _shown(choice: Choice) -> GivenChoice:
    return GivenChoice(enabled=choice.enabled, channels=choice.channels, frequency=choice.frequency)


def _contact(contact: Contact) -> ShownContact:
    assert isinstance(contact.personal, ConsentedAddress)
    return ShownContact(
        id=contact.id,
        channel=contact.channel,
        address=contact.personal.address,
        source=contact.source,
        text=contact.personal.text,
        ip=contact.personal.ip,
        given_at=contact.given_at,
    )
