"""Whatever was once stored can be read for ever."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import StoredEvent

from adapters.event_mapper import EventMapper, UnknownTopicError, event_classes
from adapters.person_keys import PersonKeys
from tests import golden_events
from tests.examples import one_of_each

TOPICS = sorted(event_classes())


def test_every_type_of_event_has_its_golden_file():
    assert sorted(path.stem for path in golden_events.FOLDER.glob("*.json")) == TOPICS


@pytest.mark.parametrize("topic", TOPICS)
def test_what_was_stored_first_still_reads_as_the_event_it_was(topic):
    assert golden_events.mapper().to_event(golden_events.load(topic)) == one_of_each()[topic]


@pytest.mark.parametrize("topic", TOPICS)
def test_without_the_key_of_the_person_all_else_still_reads(topic):
    erased = EventMapper(PersonKeys(bytes(32))).to_event(golden_events.load(topic))
    expected = one_of_each()[topic]
    personal = vars(expected).get("personal")
    assert {**vars(erased), "personal": personal} == {**vars(expected), "personal": personal}
    if personal:
        assert erased.personal.person == personal.person


def test_a_topic_that_nobody_knows_is_an_error():
    with pytest.raises(UnknownTopicError, match="no such topic"):
        golden_events.mapper().to_event(StoredEvent(UUID(int=1), 1, "no such topic", b"{}"))


class Parcel(Aggregate):
    """An aggregate whose event has changed twice since it was first stored."""

    class Packed(Aggregate.Created):
        TOPIC = "test.parcel_packed"
        class_version = 3

        grams: int
        to: str
        note: str | None

        @staticmethod
        def upcast_v1_v2(state: dict[str, object]) -> None:
            state["grams"] = state.pop("weight") * 1000

        @staticmethod
        def upcast_v2_v3(state: dict[str, object]) -> None:
            state["to"] = f"{state.pop('first')} {state.pop('last')}"

    def __init__(self, grams: int, to: str, note: str | None = None) -> None:
        self.grams = grams
        self.to = to
        self.note = note


@pytest.mark.parametrize(
    "state",
    [
        b'{"timestamp":"2026-03-01T12:00:00Z","weight":2,"first":"Ada","last":"Lovelace"}',
        b'{"timestamp":"2026-03-01T12:00:00Z","grams":2000,"first":"Ada","last":"Lovelace","class_version":2}',
        b'{"timestamp":"2026-03-01T12:00:00Z","grams":2000,"to":"Ada Lovelace","class_version":3}',
    ],
    ids=["version 1", "version 2", "version 3"],
)
def test_an_event_of_an_older_version_reads_as_one_of_today(state):
    mapper = EventMapper(PersonKeys(bytes(32)), [Parcel])
    event = mapper.to_event(StoredEvent(UUID(int=1), 1, "test.parcel_packed", state))
    assert (event.grams, event.to, event.note) == (2000, "Ada Lovelace", None)
    assert event.timestamp == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert mapper.to_event(mapper.to_stored(event)) == event
