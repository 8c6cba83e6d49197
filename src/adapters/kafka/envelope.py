"""The envelopes that events come in.

A plain one, `{"id", "type", "time", "tenant_id", "data"}`, and CloudEvents 1.0 in the structured and the binary mode of
its Kafka binding (https://github.com/cloudevents/spec: cloudevents/bindings/kafka-protocol-binding.md).
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from application.faults import fault_of
from application.inbound.event import MOST_BYTES, InboundEvent, Record, UnfitError
from domain.parked import Origin, ParkReason

_CLOUD_EVENTS = "application/cloudevents"
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json|text/json")
_LONGEST_ID = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 250_000_000_000_000  # in the year 9892
_ATTRIBUTES = ("source", "subject", "tenant_id")

_decode = msgspec.json.Decoder().decode


def read_record(record: Record) -> InboundEvent | None:
    """The event in a record; None for one without a value, unless its headers say that it is an event without data.

    Raises UnfitError.
    """
    if record.unreadable:
        raise UnfitError(ParkReason.UNREADABLE, record.unreadable)
    headers = {name.lower(): value for name, value in record.headers}
    if len(record.value or b"") > MOST_BYTES:
        raise UnfitError(ParkReason.TOO_LARGE, f"the value has {len(record.value or b''):,} bytes")
    binary = "ce_specversion" in headers
    if record.value is None and not binary:
        return None
    kind = _text(headers.get("content-type", b"")).partition(";")[0].strip().lower()
    said = _binary(record, headers, kind) if binary else _structured(record, kind)
    return _event(record.origin, said)


def _structured(record: Record, kind: str) -> dict[str, Any]:
    """A plain envelope, or CloudEvents in JSON, whether or not a header says so."""
    if kind.startswith(_CLOUD_EVENTS) and kind != f"{_CLOUD_EVENTS}+json":
        raise UnfitError(ParkReason.NO_EVENT, "of CloudEvents only single ones in JSON can be read")
    said = _json(record.value or b"")
    if not isinstance(said, dict):
        raise UnfitError(ParkReason.NO_EVENT, "the value is not an object")
    if "specversion" not in said:
        return said
    _check_version(said["specversion"])
    if "data_base64" in said:
        raise UnfitError(ParkReason.NO_EVENT, "the data are not JSON")
    return _of_cloud(said)


def _binary(record: Record, headers: dict[str, bytes], kind: str) -> dict[str, Any]:
    attributes = {name.removeprefix("ce_"): _text(value) for name, value in headers.items() if name.startswith("ce_")}
    if fault := fault_of(attributes):
        raise UnfitError(ParkReason.TOO_DEEP, fault)
    _check_version(attributes["specversion"])
    if kind and not _JSON.fullmatch(kind):
        raise UnfitError(ParkReason.NO_EVENT, "the data are not JSON")
    return _of_cloud({**attributes, "data": _json(record.value) if record.value else {}})


def _check_version(version: Any) -> None:
    if version != "1.0":
        raise UnfitError(ParkReason.NO_EVENT, "only version 1.0 of CloudEvents can be read")


def _of_cloud(said: dict[str, Any]) -> dict[str, Any]:
    """Names of attributes have no underscores there, so whose it is may be said as `tenantid`. An id is unique for its

    source alone.
    """
    if not isinstance(said.get("id"), str) or not isinstance(said.get("source"), str):
        raise UnfitError(ParkReason.NO_EVENT, "CloudEvents have an id and a source")
    return {**said, "tenant_id": said.get("tenant_id", said.get("tenantid")), "data": said.get("data", {})}


def _event(origin: Origin, said: dict[str, Any]) -> InboundEvent:
    type, id, data = said.get("type"), said.get("id"), said.get("data")
    if not isinstance(type, str) or not type:
        raise UnfitError(ParkReason.NO_EVENT, "the event has no type")
    if isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    if not (id is None or (isinstance(id, str) and 0 < len(id) <= _LONGEST_ID)):
        raise UnfitError(ParkReason.NO_EVENT, f"the id must be a text of up to {_LONGEST_ID} characters")
    if not isinstance(data, dict):
        raise UnfitError(ParkReason.NO_EVENT, "the data of the event are not an object")
    source = said.get("source")
    envelope = {name: said.get(name) for name in _ATTRIBUTES}
    return InboundEvent(
        identity=_identity(origin, id, source if isinstance(source, str) else None),
        id=id,
        type=type,
        time=_time(origin, said.get("time")),
        document={"topic": origin.topic, "id": id, "type": type, "time": said.get("time"), **envelope, "data": data},
    )


def _identity(origin: Origin, id: str | None, source: str | None) -> str:
    if id is None:
        return f"at\x00{origin.id}"
    return f"id\x00{source or ''}\x00{id}"


def _time(origin: Origin, said: Any) -> datetime:
    """When it happened; where the envelope does not say, when the record was made."""
    if said is None:
        return _EPOCH + timedelta(milliseconds=min(max(0, origin.timestamp), _LATEST_MS))
    try:
        moment = msgspec.convert(said, datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UnfitError(ParkReason.NO_EVENT, "the time must have an offset, such as 2026-01-31T09:00:00Z")
    return moment


def _json(value: bytes) -> Any:
    try:
        said = _decode(value)
    except RecursionError:
        raise UnfitError(ParkReason.TOO_DEEP, "the value is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnfitError(ParkReason.NOT_JSON, f"the value is not JSON in UTF-8: {error}") from None
    if fault := fault_of(said):
        raise UnfitError(ParkReason.TOO_DEEP, fault)
    return said


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
