"""What a user's choices add up to, and what of them is news."""

from datetime import time, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import preferences as limits
from domain.personal import ConsentedAddress, Erased
from domain.preferences import (
    Choice,
    NoSuchContactError,
    Preferences,
    TooManyChoicesError,
    TooManyContactsError,
    Wishes,
)
from domain.vocabulary import Channel, Frequency
from domain.wall_clock import QuietHours
from tests.examples import NOON

BY = {"now": NOON, "by": "key:k1"}


@pytest.fixture
def preferences() -> Preferences:
    return Preferences.begin("acme", "u-1", **BY)


def address(text: str = "jane@example.com", consent: str | None = "Yes, write to me") -> ConsentedAddress:
    return ConsentedAddress(person=UUID(int=1), address=text, text=consent)


def topics(preferences: Preferences) -> list[str]:
    return [type(event).TOPIC for event in preferences.collect_events()]


_choices = st.builds(
    Choice,
    enabled=st.booleans(),
    channels=st.dictionaries(st.sampled_from(Channel), st.booleans()),
    frequency=st.none() | st.sampled_from(Frequency),
)
_wishes = st.builds(
    Wishes,
    language=st.none() | st.sampled_from(["de", "en"]),
    time_zone=st.none() | st.just("Europe/Berlin"),
    quiet_hours=st.none() | st.just(QuietHours(time(22), time(7))),
    channels=st.dictionaries(st.sampled_from(Channel), st.booleans()),
    categories=st.dictionaries(st.sampled_from("abc"), _choices),
    types=st.dictionaries(st.sampled_from("xyz"), _choices),
)


@given(st.lists(_wishes, max_size=4))
def test_what_was_adopted_last_holds_and_is_what_the_events_say(lives):
    preferences = Preferences.begin("acme", "u-1", **BY)
    for wishes in lives:
        preferences.adopt(wishes, **BY)
        assert preferences.wishes == wishes
    again = None
    for event in preferences.collect_events():
        again = event.mutate(again)
    assert again.wishes == preferences.wishes


def test_what_was_chosen_before_is_no_news(preferences):
    wishes = Wishes(language="de", channels={Channel.SMS: False}, categories={"promotion": Choice(enabled=False)})
    preferences.adopt(wishes, **BY)
    assert topics(preferences) == [
        "preferences.begun",
        "preferences.language_chosen",
        "preferences.channel_chosen",
        "preferences.category_chosen",
    ]
    preferences.adopt(wishes, **BY)
    assert topics(preferences) == []


def test_there_is_room_for_so_many_choices(preferences):
    many = {f"type-{n}": Choice() for n in range(limits.MOST_CHOICES + 1)}
    with pytest.raises(TooManyChoicesError):
        preferences.adopt(Wishes(types=many), **BY)


def test_a_category_is_switched_for_one_channel_alone():
    off = Wishes().with_category("promotion", Channel.EMAIL, False)
    assert not off.categories["promotion"].allows(Channel.EMAIL)
    assert off.categories["promotion"].allows(Channel.SMS)
    assert off.with_category("promotion", Channel.EMAIL, True).categories["promotion"].allows(Channel.EMAIL)


def test_a_category_that_was_off_is_on_when_it_is_switched_on():
    off = Wishes(categories={"promotion": Choice(enabled=False)})
    assert off.with_category("promotion", Channel.EMAIL, True).categories["promotion"].allows(Channel.EMAIL)
    assert not off.with_category("promotion", Channel.EMAIL, False).categories["promotion"].allows(Channel.SMS)


def test_the_frequency_of_a_type_counts_before_that_of_its_category():
    wishes = Wishes(
        types={"x": Choice(frequency=Frequency.HOURLY), "y": Choice()},
        categories={"a": Choice(frequency=Frequency.DAILY)},
    )
    found = [wishes.frequency(*each) for each in (("x", "a"), ("y", "a"), ("z", "b"))]
    assert found == [Frequency.HOURLY, Frequency.DAILY, Frequency.IMMEDIATE]


def test_the_same_address_again_is_the_same_contact_with_its_newer_consent(preferences):
    first = preferences.add_contact(UUID(int=1), Channel.EMAIL, address(), "signup", **BY)
    later = {"now": NOON + timedelta(days=1), "by": "key:k1"}
    again = preferences.add_contact(UUID(int=2), Channel.EMAIL, address(consent="And offers"), "form", **later)
    other = preferences.add_contact(UUID(int=3), Channel.SMS, address("+4930123456"), "form", **later)
    assert first == again != other
    (contact,) = preferences.reached_by(Channel.EMAIL)
    assert (contact.source, contact.given_at, contact.personal.text) == ("form", later["now"], "And offers")


def test_a_message_goes_to_the_newest_address_and_to_every_device(preferences):
    for n, (channel, text) in enumerate(
        [
            (Channel.EMAIL, "jane@example.com"),
            (Channel.PUSH, "phone"),
            (Channel.EMAIL, "jane@acme.example"),
            (Channel.PUSH, "tablet"),
        ]
    ):
        preferences.add_contact(UUID(int=n), channel, address(text), "signup", **BY)
    written = {c: [each.personal.address for each in preferences.written_to(c)] for c in Channel}
    assert written[Channel.EMAIL] == ["jane@acme.example"]
    assert written[Channel.PUSH] == ["phone", "tablet"]
    assert written[Channel.SMS] == []


def test_nobody_is_reached_where_the_address_was_erased_or_removed(preferences):
    preferences.add_contact(UUID(int=1), Channel.EMAIL, address(), "signup", **BY)
    preferences.add_contact(UUID(int=2), Channel.EMAIL, address("max@example.com"), "signup", **BY)
    preferences.remove_contact(UUID(int=1), **BY)
    (event,) = [e for e in preferences.pending_events if getattr(e, "contact", None) == UUID(int=2)]
    object.__setattr__(event, "personal", Erased(UUID(int=9)))
    event.apply(preferences)
    assert preferences.reached_by(Channel.EMAIL) == []
    with pytest.raises(NoSuchContactError):
        preferences.remove_contact(UUID(int=1), **BY)


def test_there_is_room_for_so_many_addresses(preferences, monkeypatch):
    monkeypatch.setattr(limits, "MOST_CONTACTS", 1)
    preferences.add_contact(UUID(int=1), Channel.EMAIL, address(), "signup", **BY)
    with pytest.raises(TooManyContactsError):
        preferences.add_contact(UUID(int=2), Channel.EMAIL, address("max@example.com"), "signup", **BY)
