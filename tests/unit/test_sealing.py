"""Personal data is sealed with the person's own key, and is gone when that is gone."""

from uuid import UUID

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent

from adapters import person_keys
from adapters.event_mapper import EventMapper
from adapters.person_keys import PersonKeys, WrongMasterKeyError
from application.ports.log import AlteredError
from domain.personal import Erased, PersonErasedError, Remark
from tests.examples import one_of_each

MASTER_KEY = bytes(range(32))


@pytest.fixture
def keys() -> PersonKeys:
    return PersonKeys(MASTER_KEY)


@pytest.fixture
def person(keys: PersonKeys) -> UUID:
    return keys.person("acme", "ada@example.com")


@pytest.fixture
def stored(keys: PersonKeys, person: UUID) -> StoredEvent:
    return EventMapper(keys).to_stored(one_of_each(person)["notification.bounced"])


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(person_keys, "monotonic", lambda: now[0])
    return now


def test_a_sealed_value_cannot_be_moved_to_another_stream(keys, stored):
    moved = StoredEvent(UUID(int=9), stored.originator_version, stored.topic, stored.state)
    with pytest.raises(AlteredError):
        EventMapper(keys).to_event(moved)


def test_a_sealed_value_cannot_be_moved_within_its_stream(keys, stored):
    moved = StoredEvent(stored.originator_id, stored.originator_version + 1, stored.topic, stored.state)
    with pytest.raises(AlteredError):
        EventMapper(keys).to_event(moved)


def test_a_sealed_value_that_was_tampered_with_is_not_read(keys, stored):
    state = msgspec.json.decode(stored.state)
    box = state["personal"]["box"]
    state["personal"]["box"] = box[:-8] + ("A" if box[-8] != "A" else "B") + box[-7:]
    tampered = StoredEvent(stored.originator_id, stored.originator_version, stored.topic, msgspec.json.encode(state))
    with pytest.raises(AlteredError):
        EventMapper(keys).to_event(tampered)


def test_the_same_value_is_never_sealed_twice_alike(keys, person):
    assert keys.seal(person, b"ada", b"") != keys.seal(person, b"ada", b"")


def test_the_persons_in_stored_events_are_found_without_their_keys(person, stored):
    assert EventMapper(PersonKeys(MASTER_KEY)).opened([stored]).persons == {person}


def test_what_is_erased_is_not_stored_as_if_it_were_data(keys):
    event = one_of_each()["notification.bounced"]
    object.__setattr__(event, "personal", Erased(UUID(int=1)))
    with pytest.raises(ValueError, match="erased"):
        EventMapper(keys).to_stored(event)


def test_nothing_is_sealed_with_a_key_that_is_gone(keys, person):
    keys.load([person], [])
    with pytest.raises(PersonErasedError):
        keys.seal(person, b"ada", b"")


def test_a_person_is_the_same_however_the_address_is_spelled(keys, person):
    assert keys.person("acme", " Ada@Example.COM ") == person
    assert keys.person("other", "ada@example.com") != person


def test_the_subject_tells_nothing_without_the_master_key(keys):
    other = PersonKeys(bytes(32))
    assert keys.subject("acme", "ada@example.com") != other.subject("acme", "ada@example.com")


def test_keys_are_new_until_a_store_has_them(keys, person):
    (fresh,) = keys.fresh([person])
    keys.stored([fresh])
    assert keys.fresh([person]) == []


def test_a_key_of_another_master_key_is_refused(keys, person):
    (fresh,) = keys.fresh([person])
    with pytest.raises(WrongMasterKeyError):
        PersonKeys(bytes(32)).load([person], [(person, fresh.wrapped)])


def test_a_master_key_has_32_bytes():
    with pytest.raises(ValueError, match="32 bytes"):
        PersonKeys(b"short")


def test_a_key_is_asked_for_again_after_a_minute(time, keys):
    person = keys.person("acme", "ada@example.com")
    keys.stored(keys.fresh([person]))
    time[0] += 59
    assert keys.unknown([person]) == []
    time[0] += 2
    assert keys.unknown([person]) == [person]


def test_a_key_that_was_known_a_moment_ago_is_never_dropped_for_others(time, keys):
    """Who asked for what is unknown may still be loading it: what was known then must not read as erased now."""
    person = keys.person("acme", "ada@example.com")
    box = keys.seal(person, b"ada", b"")
    keys.stored(keys.fresh([person]))
    time[0] += 59
    assert keys.unknown([person]) == []
    for number in range(12_000):
        keys.person("acme", f"{number}@example.com")
        time[0] += 0.001
    assert keys.unseal(person, box, b"") == b"ada"


def test_keys_that_nobody_has_used_for_long_are_dropped(time, keys):
    person = keys.person("acme", "ada@example.com")
    time[0] += 200
    keys.person("acme", "bob@example.com")
    assert keys.unseal(person, b"", b"") is None
    assert keys.person("acme", "ada@example.com") != person


def test_a_remark_comes_back_as_a_remark(keys, person, stored):
    assert isinstance(EventMapper(keys).to_event(stored).personal, Remark)
