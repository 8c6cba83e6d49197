"""Between typed events and the bytes the log keeps, with personal data sealed on the way."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, NotRequired, TypedDict, get_args, get_type_hints
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from eventsourcing.domain import Aggregate, AggregateCreated, AggregateEvent, CanMutateAggregate
from eventsourcing.persistence import StoredEvent
from eventsourcing.utils import get_topic

from adapters.person_keys import PersonKeys
from application.ports.log import AlteredError
from domain.acceptance import Acceptance
from domain.event_type import EventType
from domain.happening import Happening
from domain.limits import Limits
from domain.mapping import Mappings
from domain.notification import Notification
from domain.own_template import Template
from domain.parked import ParkedRecord
from domain.personal import Erased
from domain.preferences import Preferences
from domain.publishing import Publishing
from domain.receipts import Receipt
from domain.saying import Saying
from domain.subscription import WebhookSubscription
from domain.suppression import Suppression

AGGREGATES: tuple[type[Aggregate], ...] = (
    Notification,
    Acceptance,
    Receipt,
    Template,
    Preferences,
    Suppression,
    WebhookSubscription,
    Happening,
    EventType,
    Mappings,
    ParkedRecord,
    Limits,
    Saying,
    Publishing,
)


class UnknownTopicError(Exception):
    """The log holds an event that this version does not know."""


_State = dict[str, Any]
"""The fields of an event by name; what is personal is still sealed."""


class Sealed(msgspec.Struct, frozen=True):
    """A personal value as it is stored: `box` is nonce and ciphertext under the key named `person`."""

    person: UUID
    box: bytes


class _Owned(msgspec.Struct):
    """What every event of a tenant says in the clear."""

    tenant: str = ""


_owned: msgspec.json.Decoder[_Owned] = msgspec.json.Decoder(_Owned)


def tenant_of(state: bytes) -> str:
    """Whose event this is, by its stored bytes; "" where it is nobody's, or the bytes cannot be read."""
    try:
        return _owned.decode(state).tenant
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


class _EventCodec:
    """Reads and writes the state of one event class."""

    def __init__(self, event_class: type[AggregateEvent], aggregate: type[Aggregate]) -> None:
        hints = get_type_hints(event_class)
        fields = [f.name for f in dataclasses.fields(event_class) if not f.name.startswith("originator_")]
        self.event_class = event_class
        self.topic = get_topic(event_class)
        self.personal: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_personal_type(hints.get("personal")))
        hints["personal"] = Sealed | None
        self.fields = tuple(fields)
        self.originator_topic = get_topic(aggregate) if issubclass(event_class, AggregateCreated) else None
        self.version = getattr(event_class, "class_version", 1)
        self.absent = {name: None for name in fields if _may_be_absent(hints[name])}
        self.state: Any = TypedDict(event_class.__name__, {name: _field(hints[name]) for name in fields})  # type: ignore[misc]
        self.decoder: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(self.state)

    def decode(self, raw: bytes) -> dict[str, Any]:
        """The fields of the event; what is personal is still sealed."""
        state = self.decoder.decode(raw) if self.version == 1 else self._upcast(raw)
        return state if len(state) == len(self.fields) else self.absent | state

    def _upcast(self, raw: bytes) -> dict[str, Any]:
        state = msgspec.json.decode(raw)
        for old in range(state.pop("class_version", 1), self.version):
            getattr(self.event_class, f"upcast_v{old}_v{old + 1}")(state)
        fields: dict[str, Any] = msgspec.convert(state, self.state)
        return fields


_codec = cache(_EventCodec)


class EventMapper:
    """Stores typed events as JSON and reads them back typed; `personal` is sealed with its person's key.

    The event's stream and its place there are bound into the seal, so that a sealed value cannot be moved.
    Reading takes keys that are already at hand: load those of `opened(...).persons` first; what has none is `Erased`.
    Reading raises AlteredError for a sealed value that is not as it was stored, or not where.
    """

    def __init__(self, keys: PersonKeys, aggregates: Iterable[type[Aggregate]] = AGGREGATES) -> None:
        self._keys = keys
        self._codecs = {codec.topic: codec for codec in _codecs(aggregates)}
        self._encode = msgspec.json.Encoder().encode

    @property
    def topics(self) -> list[str]:
        return list(self._codecs)

    def to_stored(self, event: CanMutateAggregate[UUID]) -> StoredEvent:
        state = dict(vars(event))
        id, version = state.pop("originator_id"), state.pop("originator_version")
        state.pop("originator_topic", None)
        if personal := state.get("personal"):
            state["personal"] = self._seal(personal, id, version)
        if (class_version := getattr(event, "class_version", 1)) > 1:
            state["class_version"] = class_version
        return StoredEvent(id, version, get_topic(type(event)), self._encode(state))

    def to_event(self, stored: StoredEvent) -> AggregateEvent:
        return self.opened([stored]).events()[0]

    def opened(self, stored: Sequence[StoredEvent]) -> "OpenedEvents":
        """The first half of reading: what can be read without anybody's key."""
        codecs = [self._codec(each.topic) for each in stored]
        states = [codec.decode(each.state) for codec, each in zip(codecs, stored, strict=True)]
        return OpenedEvents(self._keys, stored, codecs, states)

    def _codec(self, topic: str) -> _EventCodec:
        try:
            return self._codecs[topic]
        except KeyError:
            raise UnknownTopicError(topic) from None

    def _seal(self, personal: Any, id: UUID, version: int) -> Sealed:
        if isinstance(personal, Erased):
            raise ValueError("what is erased cannot be stored again")
        return Sealed(personal.person, self._keys.seal(personal.person, self._encode(personal), _place(id, version)))


class OpenedEvents:
    """Stored events with all but their personal data read."""

    def __init__(
        self,
        keys: PersonKeys,
        stored: Sequence[StoredEvent],
        codecs: Sequence[_EventCodec],
        states: Sequence[_State],
    ) -> None:
        self._keys = keys
        self._stored = stored
        self._codecs = codecs
        self._states = states

    @property
    def persons(self) -> set[UUID]:
        """Whose keys are needed to read the rest."""
        return {sealed.person for state in self._states if (sealed := state.get("personal"))}

    def events(self, *, personal: bool = True) -> list[AggregateEvent]:
        """The events, with the keys at hand by now; without `personal` that stays sealed and reads as erased."""
        read = self._unseal if personal else self._leave_sealed
        return [
            _event(stored, codec, state, read)
            for stored, codec, state in zip(self._stored, self._codecs, self._states, strict=True)
        ]

    def _unseal(self, sealed: Sealed, stored: StoredEvent, codec: _EventCodec) -> Any:
        place = _place(stored.originator_id, stored.originator_version)  # type: ignore[arg-type]
        try:
            plain = self._keys.unseal(sealed.person, sealed.box, place)
        except (InvalidTag, ValueError):
            raise AlteredError(f"what is sealed in {stored.originator_id} is not what was stored there") from None
        return Erased(sealed.person) if plain is None else codec.personal.decode(plain)

    def _leave_sealed(self, sealed: Sealed, stored: StoredEvent, codec: _EventCodec) -> Erased:
        return Erased(sealed.person)


def _event(
    stored: StoredEvent,
    codec: _EventCodec,
    state: dict[str, Any],
    read: Callable[[Sealed, StoredEvent, _EventCodec], Any],
) -> AggregateEvent:
    values = state.copy()
    if sealed := state.get("personal"):
        values["personal"] = read(sealed, stored, codec)
    values["originator_id"] = stored.originator_id
    values["originator_version"] = stored.originator_version
    if codec.originator_topic:
        values["originator_topic"] = codec.originator_topic
    event = object.__new__(codec.event_class)
    object.__setattr__(event, "__dict__", values)
    return event


def _place(id: UUID, version: int) -> bytes:
    return id.bytes + version.to_bytes(8, "big")


def _may_be_absent(hint: Any) -> bool:
    """A field that may be None may also be absent: it was added after the event was first stored."""
    return NoneType in get_args(hint)


def _field(hint: Any) -> Any:
    return NotRequired[hint] if _may_be_absent(hint) else hint


def _personal_type(hint: Any) -> Any:
    if not isinstance(hint, UnionType):
        return hint
    return next(each for each in get_args(hint) if each not in (Erased, NoneType))


def _codecs(aggregates: Iterable[type[Aggregate]]) -> Iterable[_EventCodec]:
    for aggregate in aggregates:
        for event_class in vars(aggregate).values():
            if isinstance(event_class, type) and issubclass(event_class, AggregateEvent) and _topic(event_class):
                yield _codec(event_class, aggregate)


def _topic(event_class: type[AggregateEvent]) -> str | None:
    topic: str | None = getattr(event_class, "TOPIC", None)
    return topic


def event_classes(aggregates: Iterable[type[Aggregate]] = AGGREGATES) -> Mapping[str, type[AggregateEvent]]:
    """Every event class the log may hold, by topic."""
    return {codec.topic: codec.event_class for codec in _codecs(aggregates)}
