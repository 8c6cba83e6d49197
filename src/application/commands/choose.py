"""What readers choose for themselves, on the page that a link in a mail leads to."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from application.ports.log import ConflictError, EventStore, Persons
from application.ports.time_and_chance import Clock
from application.readers import AddressDigest, Who
from domain.ids import preferences_id, suppression_id
from domain.personal import Listed
from domain.preferences import Preferences, Wishes
from domain.suppression import Suppression
from domain.vocabulary import Frequency, Ground
from domain.wall_clock import QuietHours

BY = "reader"
SOURCE = "link"

_TRIES = 5


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What stands on the page. Without a known user there is nothing but categories, on or off."""

    categories: dict[str, bool]
    frequencies: dict[str, Frequency] = {}
    language: str | None = None
    time_zone: str | None = None
    quiet_hours: QuietHours | None = None


async def chosen(who: Who, categories: Iterable[str], *, events: EventStore, digest: AddressDigest) -> Chosen:
    """What holds now, for these categories and those that were ever chosen."""
    preferences, suppression = await _known(who, events, digest)
    wishes = preferences.wishes if preferences else Wishes()
    left = (
        {category for ground, category in suppression.entries if ground is Ground.UNSUBSCRIBE} if suppression else set()
    )
    named = {*categories, *(each for each in left if each), *wishes.categories}
    on = wishes.channels.get(who.channel, True) and None not in left
    return Chosen(
        categories={name: on and name not in left and _wished(wishes, name, who) for name in sorted(named)},
        frequencies={name: _frequency(wishes, name) for name in named} if who.user else {},
        language=wishes.language,
        time_zone=wishes.time_zone,
        quiet_hours=wishes.quiet_hours,
    )


async def choose(
    wanted: Chosen, who: Who, *, events: EventStore, persons: Persons, digest: AddressDigest, clock: Clock
) -> None:
    """It holds once this has returned. Where nothing is different, nothing is stored."""
    for _ in range(_TRIES):
        preferences, suppression = await _known(who, events, digest)
        now, changed = clock.now(), list[Any]()
        if who.user:
            preferences = preferences or Preferences.begin(who.tenant, who.user, now=now, by=BY)
            preferences.adopt(_wishes(preferences.wishes, wanted, who), now=now, by=BY)
            changed.append(preferences)
        if suppression or not all(wanted.categories.values()):
            suppression = suppression or _begun(who, persons, digest, now)
            _list(suppression, wanted, now)
            changed.append(suppression)
        try:
            await events.save(*changed)
            return
        except ConflictError:
            continue
    raise ConflictError("the preferences keep changing")


async def _known(who: Who, events: EventStore, digest: AddressDigest) -> tuple[Preferences | None, Suppression | None]:
    user = await events.get(Preferences, preferences_id(who.tenant, who.user)) if who.user else None
    address = suppression_id(who.tenant, who.channel, digest(who.tenant, who.channel, who.address))
    return user, await events.get(Suppression, address)


def _wished(wishes: Wishes, category: str, who: Who) -> bool:
    known = wishes.categories.get(category)
    return known is None or known.allows(who.channel)


def _frequency(wishes: Wishes, category: str) -> Frequency:
    known = wishes.categories.get(category)
    return (known and known.frequency) or Frequency.IMMEDIATE


def _wishes(wishes: Wishes, wanted: Chosen, who: Who) -> Wishes:
    """What was left alone stays unsaid; a channel that was off is on again with its first category."""
    if any(wanted.categories.values()) and not wishes.channels.get(who.channel, True):
        wishes = wishes.with_channel(who.channel, True)
    for category, on in wanted.categories.items():
        if on != _wished(wishes, category, who):
            wishes = wishes.with_category(category, who.channel, on)
    for category, frequency in wanted.frequencies.items():
        if frequency is not _frequency(wishes, category):
            wishes = wishes.with_frequency(category, frequency)
    return msgspec.structs.replace(
        wishes, language=wanted.language, time_zone=wanted.time_zone, quiet_hours=wanted.quiet_hours
    )


def _list(suppression: Suppression, wanted: Chosen, now: datetime) -> None:
    if any(wanted.categories.values()):
        suppression.remove(Ground.UNSUBSCRIBE, source=SOURCE, now=now, by=BY)
    for category, on in wanted.categories.items():
        if on:
            suppression.remove(Ground.UNSUBSCRIBE, category=category, source=SOURCE, now=now, by=BY)
        elif (Ground.UNSUBSCRIBE, None) not in suppression.entries:
            suppression.add(Ground.UNSUBSCRIBE, category=category, source=SOURCE, now=now, by=BY)


def _begun(who: Who, persons: Persons, digest: AddressDigest, now: datetime) -> Suppression:
    listed = Listed(person=persons.person(who.tenant, who.address), address=who.address)
    known_by = digest(who.tenant, who.channel, who.address)
    return Suppression.begin(who.tenant, who.channel, known_by, listed, now=now, by=BY)
