"""The catalogue of event types: what tenants say of theirs, and whether what is told fits it."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.commands.send_webhook import EventAnswer, SendWebhook
from application.faults import fault_of
from application.ports.log import EventStore
from application.ports.time_and_chance import Clock
from application.problems import InvalidCommandError, NotFoundError, Problem
from application.projections.event_types import EventTypeRow
from domain.event_type import EventType, EventTypeTerms
from domain.filters import is_event_type
from domain.ids import event_type_id, happening_id

LONGEST_SCHEMA = 16 * 1024
LONGEST_CHECKED = 64 * 1024
"""Bytes of JSON."""

_FRESH = timedelta(seconds=1)
_MOST_KEPT = 10_000


class DescribeEventType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is said of a type of event; nothing is taken over from before."""

    description: Annotated[str, Meta(max_length=5_000)] = ""
    schema: Annotated[
        dict[str, Any] | None,
        Meta(description="JSON Schema (2020-12) of `data`, without references; at most 16 KiB"),
    ] = None
    example: Annotated[dict[str, Any] | None, Meta(description="One `data`, which has to fit the schema")] = None
    deprecated: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1_000)] | None, Meta(description="What to use instead")
    ] = None
    checked: Annotated[
        bool,
        Meta(
            description="Whether an event is refused whose `data` does not fit, is over 64 KiB or takes long to check"
        ),
    ] = False


class EventTypeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A type of event as its tenant describes it."""

    name: str
    description: str
    schema: dict[str, Any] | None
    example: dict[str, Any] | None
    deprecated: str | None
    checked: bool
    created_at: datetime
    updated_at: datetime
    position: int


class EventTypePage(msgspec.Struct, frozen=True):
    event_types: list[EventTypeAnswer]
    next_cursor: str | None


class PayloadSchemas(Protocol):
    """Checks by JSON Schemas, which tenants write: whatever they make of it, each check has an end."""

    async def problems(self, tenant: str, schema: Mapping[str, Any], data: Any) -> Sequence[Problem]:
        """Where `data` does not fit; each path begins at `data`.

        Raises ValueError, whose message says why, for what is no schema that can be used and for what takes too much
        time or memory, and as Renderer.
        """


class EventTypeReader(Protocol):
    """The read model of the catalogue."""

    async def page(self, tenant: str, after: str, limit: int) -> Sequence[EventTypeRow]:
        """By name, those after this one that are not removed."""

    async def first_names(self, limit: int) -> Sequence[str]:
        """What was described first, by whichever tenant; removed or not, so that they stay the same."""


class EventTypes:
    """What was described here is in force at once, elsewhere within a second."""

    def __init__(self, events: EventStore, schemas: PayloadSchemas, reader: EventTypeReader, clock: Clock) -> None:
        self._events = events
        self._schemas = schemas
        self._reader = reader
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], tuple[datetime, EventTypeTerms | None]] = OrderedDict()

    async def describe(self, name: str, command: DescribeEventType, caller: Caller) -> EventTypeAnswer:
        """Raises InvalidCommandError naming every fault."""
        if faults := list(self._faults(name, command)) or await self._faults_of_schema(command, caller):
            raise InvalidCommandError(faults)
        terms = EventTypeTerms(
            description=command.description,
            schema=command.schema,
            example=command.example,
            deprecated=command.deprecated,
            checked=command.checked,
        )
        known = await self._events.get(EventType, event_type_id(caller.tenant, name))
        now = self._clock.now()
        if known is None:
            known = EventType.describe(caller.tenant, name, terms, now=now, by=caller.by)
        else:
            known.change(terms, now=now, by=caller.by)
        position = await self._events.save(known)
        self._known.pop((caller.tenant, name), None)
        return _answer(known, position)

    async def one(self, name: str, caller: Caller) -> EventTypeAnswer:
        """Raises NotFoundError."""
        return _answer(await self._own(name, caller), await self._events.save())

    async def remove(self, name: str, caller: Caller) -> int:
        """Answers the position. It can still be told of, and is not checked any more. Raises NotFoundError."""
        known = await self._own(name, caller)
        known.remove(now=self._clock.now(), by=caller.by)
        position = await self._events.save(known)
        self._known.pop((caller.tenant, name), None)
        return position

    async def page(self, after: str, limit: int, caller: Caller) -> EventTypePage:
        rows = await self._reader.page(caller.tenant, after, limit + 1)
        shown = [EventTypeAnswer(**{n: getattr(row, n) for n in EventTypeAnswer.__struct_fields__}) for row in rows]
        return EventTypePage(shown[:limit], shown[limit - 1].name if len(rows) > limit else None)

    async def first_names(self, limit: int) -> Sequence[str]:
        """For whoever runs the service, over all tenants."""
        return await self._reader.first_names(limit)

    async def check(self, command: SendWebhook, caller: Caller) -> str | None:
        """Answers what to use instead of a type that is deprecated.

        Raises InvalidCommandError where the tenant wants it checked and it does not fit. What was told before under
        this id is no new event, whatever is asked of new ones since.
        """
        terms = await self._terms(caller.tenant, command.type)
        if terms is None:
            return None
        wanted = terms.schema if terms.checked else None
        problems = await self._misfits(wanted, command.data, caller) if wanted is not None else ()
        if problems and not await self._was_told(command.id, caller):
            raise InvalidCommandError(list(problems))
        return terms.deprecated

    async def _misfits(self, schema: dict[str, Any], data: Any, caller: Caller) -> Sequence[Problem]:
        if len(msgspec.json.encode(data)) > LONGEST_CHECKED:
            return [Problem("data", "must be at most 64 KiB where it is checked by a schema")]
        try:
            return await self._schemas.problems(caller.tenant, schema, data)
        except ValueError as error:
            return [Problem("data", f"cannot be checked by the schema: {error}")]

    async def _was_told(self, id: str | None, caller: Caller) -> bool:
        return id is not None and await self._events.length(happening_id(caller.tenant, id)) > 0

    async def _terms(self, tenant: str, name: str) -> EventTypeTerms | None:
        known = self._known.get((tenant, name))
        if known and abs(self._clock.now() - known[0]) < _FRESH:
            return known[1]
        type = await self._events.get(EventType, event_type_id(tenant, name))
        terms = type.terms if type and not type.removed else None
        self._known[tenant, name] = self._clock.now(), terms
        if len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)
        return terms

    async def _own(self, name: str, caller: Caller) -> EventType:
        known = await self._events.get(EventType, event_type_id(caller.tenant, name))
        if known is None or known.removed:
            raise NotFoundError(f"the type {name} is not described")
        return known

    def _faults(self, name: str, command: DescribeEventType) -> Iterator[Problem]:
        if not is_event_type(name):
            yield Problem("name", "must be letters, figures and underscores joined by dots, such as order.created")
        for path in ("description", "schema", "example", "deprecated"):
            if fault := fault_of(getattr(command, path)):
                yield Problem(path, fault)
                return
        if command.schema is None:
            if command.checked:
                yield Problem("checked", "needs a schema to check by")
        elif len(msgspec.json.encode(command.schema)) > LONGEST_SCHEMA:
            yield Problem("schema", "must be at most 16 KiB")

    async def _faults_of_schema(self, command: DescribeEventType, caller: Caller) -> list[Problem]:
        """Without an example it is only read, with one the example has to fit."""
        if command.schema is None:
            return []
        try:
            found = await self._schemas.problems(caller.tenant, command.schema, command.example or {})
        except ValueError as error:
            return [Problem("schema", str(error))]
        if command.example is None:
            return []
        return [Problem("example" + each.path.removeprefix("data"), each.message) for each in found]


Tell = Callable[[SendWebhook, Caller], Awaitable[EventAnswer]]


async def send_checked(command: SendWebhook, caller: Caller, *, types: EventTypes, tell: Tell) -> EventAnswer:
    """Tell of an event that fits what the catalogue says of its type."""
    deprecated = await types.check(command, caller)
    return msgspec.structs.replace(await tell(command, caller), deprecated=deprecated)


def _answer(type: EventType, position: int) -> EventTypeAnswer:
    return EventTypeAnswer(
        name=type.name,
        **msgspec.structs.asdict(type.terms),
        created_at=type.created_on,
        updated_at=type.modified_on,
        position=position,
    )
