"""The envelopes that events come in, and what is none."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from adapters.kafka.envelope import read_record
from application.faults import MOST_LEVELS
from application.inbound.event import MOST_BYTES, InboundEvent, Record, UnfitError
from domain.parked import Origin, ParkReason

NOON = "2026-03-01T12:00:00Z"
DATA = {"email": "jane@example.com"}
PLAIN = {"id": "e-1", "type": "user.created", "time": NOON, "tenant_id": "acme", "data": DATA}
CLOUD = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/users",
    "type": "user.created",
    "time": NOON,
    "tenantid": "acme",
}


def record(value: Any, *, offset: int = 7, **headers: str) -> Record:
    raw = value if isinstance(value, bytes | None) else msgspec.json.encode(value)
    origin = Origin(topic="user-events", partition=0, offset=offset, timestamp=1_772_366_400_000)
    named = tuple((name.replace("content_type", "content-type"), text.encode()) for name, text in headers.items())
    return Record(origin=origin, key=None, value=raw, headers=named)


def event(value: Any, **headers: str) -> InboundEvent:
    found = read_record(record(value, **headers))
    assert found
    return found


def unfit(value: Any, **headers: str) -> ParkReason:
    with pytest.raises(UnfitError) as caught:
        read_record(record(value, **headers))
    assert caught.value.problems
    return caught.value.reason


def binary(data: Any = DATA, **changed: str) -> InboundEvent:
    said = {f"ce_{name}": value for name, value in CLOUD.items()} | {"content_type": "application/json"} | changed
    return event(data, **said)


def test_a_plain_envelope():
    found = event(PLAIN)
    assert (found.id, found.type, found.time) == ("e-1", "user.created", datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert found.document["data"] == DATA
    assert found.document["tenant_id"] == "acme"


@pytest.mark.parametrize("headers", [{}, {"content_type": "application/cloudevents+json; charset=utf-8"}])
def test_cloud_events_in_the_structured_mode(headers):
    found = event({**CLOUD, "data": DATA}, **headers)
    assert (found.id, found.type, found.document["tenant_id"]) == ("e-1", "user.created", "acme")
    assert found.document["data"] == DATA


def test_cloud_events_in_the_binary_mode_are_the_same_events():
    assert binary() == event({**CLOUD, "data": DATA})
    assert binary(None).document["data"] == {}


def test_names_of_headers_are_known_in_any_case():
    said = {f"CE_{name}".title(): value for name, value in CLOUD.items()}
    assert event(DATA, **said).id == "e-1"


def test_an_id_is_unique_for_its_source_alone():
    assert event({**CLOUD, "source": "/orders"}).identity != event(CLOUD).identity
    assert event(PLAIN).identity == event({**PLAIN, "data": {}}).identity


def test_without_an_id_it_is_the_record_that_is_the_same():
    nameless = {"type": "user.created", "data": DATA}
    first, again = (read_record(record(nameless)) for _ in range(2))
    assert first.identity == again.identity
    assert first.identity != read_record(record(nameless, offset=8)).identity
    assert read_record(record({**nameless, "id": "x"}, offset=8)).identity == event({**nameless, "id": "x"}).identity


def test_without_a_time_it_happened_when_the_record_was_made():
    assert event({"type": "a", "data": {}}).time == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_tombstone_is_no_event():
    assert read_record(record(None)) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", ParkReason.NOT_JSON),
        (b"{", ParkReason.NOT_JSON),
        (b"\xff\xfe", ParkReason.NOT_JSON),
        (b'"\\ud800"', ParkReason.NOT_JSON),
        (b"[" * 100_000, ParkReason.TOO_DEEP),
        (
            b'{"type": "a", "data": ' + b'{"a":' * (MOST_LEVELS + 1) + b"1" + b"}" * (MOST_LEVELS + 2),
            ParkReason.TOO_DEEP,
        ),
        ({**PLAIN, "data": {"name": "a\x00b"}}, ParkReason.TOO_DEEP),
        ({**PLAIN, "data": {"n": 2**64}}, ParkReason.TOO_DEEP),
        (b" " * (MOST_BYTES + 1), ParkReason.TOO_LARGE),
        ([PLAIN], ParkReason.NO_EVENT),
        ("text", ParkReason.NO_EVENT),
        ({"data": {}}, ParkReason.NO_EVENT),
        ({**PLAIN, "type": 5}, ParkReason.NO_EVENT),
        ({**PLAIN, "data": [1]}, ParkReason.NO_EVENT),
        ({**PLAIN, "id": {}}, ParkReason.NO_EVENT),
        ({**PLAIN, "id": "x" * 3_000}, ParkReason.NO_EVENT),
        ({**PLAIN, "time": "yesterday"}, ParkReason.NO_EVENT),
        ({**PLAIN, "time": "2026-03-01T12:00:00"}, ParkReason.NO_EVENT),
        ({**CLOUD, "specversion": "0.3"}, ParkReason.NO_EVENT),
        ({**CLOUD, "data_base64": "AA=="}, ParkReason.NO_EVENT),
        ({"specversion": "1.0", "type": "a", "id": "1"}, ParkReason.NO_EVENT),
    ],
)
def test_what_is_no_event_says_why(value, reason):
    assert unfit(value) is reason


def test_modes_that_cannot_be_read_say_so():
    assert unfit([CLOUD], content_type="application/cloudevents-batch+json") is ParkReason.NO_EVENT
    assert unfit(b"\x00", content_type="application/cloudevents+avro") is ParkReason.NO_EVENT
    said = {f"ce_{name}": value for name, value in CLOUD.items()}
    assert unfit(b"\x00", content_type="application/avro", **said) is ParkReason.NO_EVENT
    assert unfit({}, **{**said, "ce_specversion": "0.3"}) is ParkReason.NO_EVENT
    assert unfit({}, **{**said, "ce_subject": "a\x00b"}) is ParkReason.TOO_DEEP
