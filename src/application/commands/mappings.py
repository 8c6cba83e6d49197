"""Writing mappings of one's own, and trying out what would become of a record."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from application.caller import Caller
from application.commands.send_webhook import SendWebhook
from application.commands.sending import SendNotification
from application.inbound.become import become
from application.inbound.event import CostlyPathError, InboundEvent, Paths, Read, Record, UnfitError
from application.inbound.mappings import MappingsInForce, faults_of_mapping
from application.ports.log import EventStore
from application.ports.time_and_chance import Clock
from application.problems import InvalidCommandError, NotFoundError, Problem
from domain.ids import mappings_id
from domain.mapping import Mapping, Mappings, MappingTerms
from domain.parked import Origin


class MappingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping in force. `version` counts how often you have written it; one of the house's is never yours."""

    name: str
    of: Literal["house", "you"]
    version: int
    terms: MappingTerms
    written_at: datetime | None
    position: int


class TryMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record as it would come. `mapping` is tried alone; without it, those in force."""

    topic: Annotated[str, Meta(min_length=1, max_length=249)]
    value: Annotated[Any, Meta(description="The envelope, as JSON")]
    headers: Annotated[dict[str, str], Meta(description="Such as content-type, or the ce_ ones of CloudEvents")] = {}
    mapping: MappingTerms | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one mapping makes of it: a `command`, or nothing as its condition does not hold, or `problems`.

    Whether the command would be accepted is known when it is: templates and addresses are not looked at here.
    """

    mapping: str
    command: SendNotification | SendWebhook | None = None
    problems: list[Problem] = []


class MappingTrial(msgspec.Struct, frozen=True, kw_only=True):
    """No outcomes: nobody maps events of this type, and it would be left out. `reason`: it would be set aside."""

    event_id: str | None
    event_type: str | None
    outcomes: list[Outcome] = []
    reason: str | None = None
    problems: list[str] = []


class MappingUses:
    """What can be asked of mappings."""

    def __init__(self, in_force: MappingsInForce, paths: Paths, read: Read, events: EventStore, clock: Clock) -> None:
        self._in_force = in_force
        self._paths = paths
        self._read = read
        self._events = events
        self._clock = clock

    async def all(self, caller: Caller) -> list[MappingAnswer]:
        """By name."""
        self._in_force.forget(caller.tenant)
        position = await self._events.save()
        return [_answer(each, position) for each in (await self._in_force.all(caller.tenant)).values()]

    async def one(self, name: str, caller: Caller) -> MappingAnswer:
        """Raises NotFoundError."""
        found = {each.name: each for each in await self.all(caller)}
        if name not in found:
            raise _not_found(name)
        return found[name]

    async def write(self, name: str, terms: MappingTerms, caller: Caller) -> MappingAnswer:
        """Instead of the house's of this name, if there is one. Raises InvalidCommandError naming every fault."""
        self._check(name, terms)
        mappings = await self._own(caller) or Mappings.begin(caller.tenant, now=self._clock.now(), by=caller.by)
        written = mappings.write(name, terms, now=self._clock.now(), by=caller.by)
        position = await self._events.save(mappings)
        self._in_force.forget(caller.tenant)
        return _answer(written, position)

    async def remove(self, name: str, caller: Caller) -> int:
        """Answers the position. Raises NotFoundError where it is none of one's own."""
        mappings = await self._own(caller)
        if mappings is None or name not in mappings.kept:
            raise _not_found(name)
        mappings.remove(name, now=self._clock.now(), by=caller.by)
        position = await self._events.save(mappings)
        self._in_force.forget(caller.tenant)
        return position

    async def try_out(self, command: TryMapping, caller: Caller) -> MappingTrial:
        """Stores nothing. Raises InvalidCommandError where the mapping itself is at fault."""
        if command.mapping:
            self._check("draft", command.mapping)
        try:
            event = self._read(_record(command, self._clock.now()))
        except UnfitError as error:
            return MappingTrial(event_id=None, event_type=None, reason=error.reason, problems=list(error.problems))
        if event is None:
            return MappingTrial(event_id=None, event_type=None)
        mappings = await self._wanted(command, event, caller)
        return MappingTrial(
            event_id=event.id,
            event_type=event.type,
            outcomes=[_outcome(each, event, caller.tenant, self._paths) for each in mappings],
        )

    async def _wanted(self, command: TryMapping, event: InboundEvent, caller: Caller) -> Sequence[Mapping]:
        if command.mapping is None:
            return await self._in_force.of(caller.tenant, command.topic, event.type)
        fits = (command.mapping.topic, command.mapping.event) == (command.topic, event.type)
        return [Mapping("draft", 0, command.mapping)] if fits else []

    def _check(self, name: str, terms: MappingTerms) -> None:
        if problems := list(faults_of_mapping(name, terms, self._paths, self._in_force.house.topics)):
            raise InvalidCommandError(problems)

    async def _own(self, caller: Caller) -> Mappings | None:
        return await self._events.get(Mappings, mappings_id(caller.tenant))


def _outcome(mapping: Mapping, event: InboundEvent, tenant: str, paths: Paths) -> Outcome:
    try:
        command = become(mapping, event, tenant, paths.look(event.document))
        return Outcome(mapping=mapping.name, command=command)
    except InvalidCommandError as error:
        return Outcome(mapping=mapping.name, problems=error.problems)
    except CostlyPathError as error:
        return Outcome(mapping=mapping.name, problems=[Problem("", str(error))])


def _record(command: TryMapping, now: datetime) -> Record:
    origin = Origin(topic=command.topic, partition=0, offset=0, timestamp=int(now.timestamp() * 1000))
    headers = tuple((name, value.encode()) for name, value in command.headers.items())
    return Record(origin=origin, key=None, value=msgspec.json.encode(command.value), headers=headers)


def _answer(mapping: Mapping, position: int) -> MappingAnswer:
    return MappingAnswer(
        name=mapping.name,
        of="you" if mapping.version else "house",
        version=mapping.version,
        terms=mapping.terms,
        written_at=mapping.written_at,
        position=position,
    )


def _not_found(name: str) -> NotFoundError:
    return NotFoundError(f"there is no mapping {name} of yours")
