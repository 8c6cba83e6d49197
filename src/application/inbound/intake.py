"""Every record that comes is stored as what it becomes, set aside, or left out and counted."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from application.caller import Caller
from application.commands.send import IdempotencyKey
from application.commands.send_webhook import SendWebhook
from application.commands.sending import SendNotification
from application.inbound.become import Command, become, key_of, text_of
from application.inbound.event import CostlyPathError, InboundEvent, Paths, Read, Record, Tenants, UnfitError
from application.inbound.mappings import MappingsInForce
from application.ports.log import ConflictError, EventStore, Persons, StoreUnavailableError
from application.ports.templates import RendererUnavailableError
from application.ports.time_and_chance import Clock
from application.problems import InvalidCommandError, KeyReusedError
from domain.mapping import Mapping
from domain.parked import Origin, ParkedRecord, ParkReason
from domain.personal import RecordBody

MOST_KEPT = 1024 * 1024
"""Bytes of a record that is set aside; of a larger one, which cannot be replayed, only the beginning."""
_BEGINNING = 4 * 1024
_LONGEST_NAME = 200
_MOST_IN_HAND = 8 * 1024 * 1024
"""Bytes of all records that are taken at the same time."""
_SLICE = 0.005
_TRIES = 3
_PAUSE = 0.5

ACCEPTED, DIFFERENT, UNMAPPED, NOT_MEANT, EMPTY, PARKED = (
    "accepted",
    "different",
    "unmapped",
    "not_meant",
    "empty",
    "parked",
)
"""What may become of a record: for one mapping it was accepted, now or before; or it was known by the same id with
other content; nobody maps its type; no condition held; it is a tombstone; it was set aside."""

FACTS = (ACCEPTED, DIFFERENT, UNMAPPED, NOT_MEANT, EMPTY, PARKED)

Tally = Counter[tuple[str, str]]
"""How often, by topic and fact."""

Accept = Callable[[SendNotification, Caller, IdempotencyKey], Awaitable[Any]]
Tell = Callable[[SendWebhook, Caller], Awaitable[Any]]


class IntakeLog(Protocol):
    """Where it is said what was set aside, by whose mistake."""

    def parked(self, record: Record, reason: ParkReason, error: BaseException | None) -> None: ...

    def different(self, record: Record, mapping: str) -> None:
        """Its id was known, with other data: it became nothing more."""


class Handled(msgspec.Struct):
    """What became of one record: facts to count, the ids of what it is now, and what stood in the way of the rest."""

    facts: list[str] = []
    became: list[str] = []
    tenant: str | None = None
    event: InboundEvent | None = None
    unfit: UnfitError | None = None
    mappings: list[str] = []
    error: BaseException | None = None


class Intake:
    """`nobody` is the tenant of records that name none, and who looks after those that cannot be read; "" if nobody."""

    def __init__(
        self,
        *,
        read: Read,
        mappings: MappingsInForce,
        paths: Paths,
        tenants: Tenants,
        accept: Accept,
        tell: Tell,
        events: EventStore,
        persons: Persons,
        clock: Clock,
        fingerprint: Callable[[bytes], str],
        log: IntakeLog,
        nobody: str = "",
    ) -> None:
        self._read = read
        self._mappings = mappings
        self._paths = paths
        self._tenants = tenants
        self._accept = accept
        self._tell = tell
        self._events = events
        self._persons = persons
        self._clock = clock
        self._fingerprint = fingerprint
        self._log = log
        self._nobody = nobody
        self._slices = _Slices()

    async def take(self, records: Sequence[Record]) -> Tally:
        """Many at once, so that they are written together. Raises StoreUnavailableError while the store is away:

        some may be stored then, and to take them again changes nothing.
        """
        tally = Tally()
        for lot in _lots(records):
            tally += await self._taken(lot)
        return tally

    async def _taken(self, records: Sequence[Record]) -> Tally:
        taken = await asyncio.gather(*map(self._take, records), return_exceptions=True)
        for each in taken:
            if isinstance(each, BaseException):
                raise each
        facts = zip(records, taken, strict=True)
        return Counter((record.origin.topic, fact) for record, each in facts for fact in each)  # type: ignore[union-attr]

    async def _take(self, record: Record) -> list[str]:
        handled = await self.handle(record)
        if handled.unfit:
            await self._park(record, handled)
        return handled.facts

    async def handle(self, record: Record) -> Handled:
        """What it becomes, stored; what stands in the way of it, told. Taken again, it becomes the same again.

        Raises StoreUnavailableError, and whatever says that the process is about to stop.
        """
        handled = Handled()
        try:
            await self._handle(record, handled)
        except StoreUnavailableError:
            raise
        except UnfitError as error:
            handled.unfit = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the records behind it have to go on
            handled.unfit, handled.error = UnfitError(ParkReason.FAILED, type(error).__name__), error
        if handled.unfit:
            handled.facts.append(PARKED)
        return handled

    async def _handle(self, record: Record, handled: Handled) -> None:
        topic = record.origin.topic
        async with self._slices:
            event = handled.event = self._read(record)
        if event is None:
            handled.facts.append(EMPTY)
            return
        handled.tenant = self._tenant_of(topic, event)
        mappings = await self._mappings_for(handled.tenant, topic, event)
        if not mappings:
            handled.facts.append(UNMAPPED)
            return
        assert handled.tenant
        look = self._paths.look(event.document)
        for mapping in mappings:
            try:
                async with self._slices:
                    command = become(mapping, event, handled.tenant, look)
                if command is None:
                    handled.facts.append(NOT_MEANT)
                else:
                    handled.facts.append(await self._store(record, command, mapping, handled))
            except InvalidCommandError as error:
                said = [f"{each.path}: {each.message}".removeprefix(": ") for each in error.problems]
                _note(handled, mapping, ParkReason.INVALID, said)
            except CostlyPathError as error:
                _note(handled, mapping, ParkReason.TOO_COSTLY, [str(error)])
                return  # what is left of the look is nothing
            except RendererUnavailableError as error:
                _note(handled, mapping, ParkReason.UNAVAILABLE, [str(error)])
            except StoreUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the records behind it have to go on
                _note(handled, mapping, ParkReason.FAILED, [type(error).__name__])
                handled.error = error

    def _tenant_of(self, topic: str, event: InboundEvent) -> str | None:
        """Who the record says it belongs to; a path of the operator's own, so that no tenant can name another.

        None where that is no name: nobody may be taken for another because of a mistake.
        """
        path = self._mappings.house.topics.get(topic)
        said = text_of(self._paths.look(event.document).find(path)) if path else None
        if said is None:
            return self._nobody or None
        return said if isinstance(said, str) and 0 < len(said) <= _LONGEST_NAME else None

    async def _mappings_for(self, tenant: str | None, topic: str, event: InboundEvent) -> list[Mapping]:
        """None where nobody maps it, whoever it belongs to. Raises UnfitError."""
        if tenant and await self._tenants.known(tenant):
            return await self._mappings.of(tenant, topic, event.type)
        if not self._mappings.house_of(topic, event.type):
            return []
        if tenant:
            raise UnfitError(ParkReason.UNKNOWN_TENANT, f"there is no tenant {tenant}")
        raise UnfitError(ParkReason.NO_TENANT, f"there is no tenant at {self._mappings.house.topics.get(topic)}")

    async def _store(self, record: Record, command: Command, mapping: Mapping, handled: Handled) -> str:
        assert handled.tenant
        assert handled.event
        caller = Caller(handled.tenant, f"kafka:{mapping.name}")
        try:
            handled.became += await self._stored(command, mapping, handled.event, caller)
        except KeyReusedError:
            self._log.different(record, mapping.name)
            return DIFFERENT
        return ACCEPTED

    async def _stored(self, command: Command, mapping: Mapping, event: InboundEvent, caller: Caller) -> list[str]:
        """Tried again where somebody was erased meanwhile, or what checks it could not be had."""
        for left in range(_TRIES - 1, -1, -1):
            try:
                if isinstance(command, SendWebhook):
                    return [(await self._tell(command, caller)).id]
                digest = self._fingerprint(msgspec.json.encode(event.document["data"], order="deterministic"))
                answer = await self._accept(command, caller, IdempotencyKey(key_of(mapping, event), digest))
                return [str(each.id) for each in answer.notifications]
            except (ConflictError, RendererUnavailableError):
                if not left:
                    raise
                await asyncio.sleep(_PAUSE)
        raise AssertionError

    async def _park(self, record: Record, handled: Handled) -> None:
        """Once, however often it comes. Raises StoreUnavailableError."""
        unfit = handled.unfit
        assert unfit
        if await self._events.length(record.origin.id):
            return
        try:
            await self._events.save(self._parked(record, handled, unfit))
        except ConflictError:  # somebody else was given it too
            if not await self._events.length(record.origin.id):
                raise
        self._log.parked(record, unfit.reason, handled.error)

    def _parked(self, record: Record, handled: Handled, unfit: UnfitError) -> ParkedRecord:
        value, size = record.value or b"", _size(record)
        complete = size <= MOST_KEPT and not record.unreadable
        owner = self._nobody if unfit.reason is ParkReason.UNKNOWN_TENANT else handled.tenant or self._nobody
        return ParkedRecord.park(
            owner,
            record.origin,
            unfit.reason,
            RecordBody(
                person=self._persons.person(owner, body_key(record.origin)),
                key=record.key if complete else None,
                value=value if complete else value[:_BEGINNING],
                headers=record.headers if complete else (),
                problems=unfit.problems,
            ),
            size=size,
            complete=complete,
            said_tenant=handled.tenant,
            event_id=_shown(handled.event.id if handled.event else None),
            event_type=_shown(handled.event.type if handled.event else None),
            mappings=tuple(handled.mappings),
            now=self._clock.now(),
            by="kafka",
        )


class _Slices:
    """One at a time works, and after some milliseconds everything else in the process has its turn.

    What waits for the store wakes up all at once; so each piece of work is for this to let in, not the records alone.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._until = 0.0

    async def __aenter__(self) -> None:
        await self._turn.acquire()
        now = asyncio.get_running_loop().time
        if now() >= self._until:
            try:
                await asyncio.sleep(0)
            except BaseException:
                self._turn.release()
                raise
            self._until = now() + _SLICE

    async def __aexit__(self, *_: object) -> None:
        self._turn.release()


def _lots(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """In their order, so many in each as may be in hand."""
    lot, room = list[Record](), _MOST_IN_HAND
    for record in records:
        room -= _size(record)
        if lot and room < 0:
            yield lot
            lot, room = [], _MOST_IN_HAND - _size(record)
        lot.append(record)
    if lot:
        yield lot


def _size(record: Record) -> int:
    return (
        len(record.value or b"") + len(record.key or b"") + sum(len(name) + len(each) for name, each in record.headers)
    )


def body_key(origin: Origin) -> str:
    """By what name the key is known that one record is sealed with, so that it can be erased alone."""
    return f"record:{origin.id}"


def _note(handled: Handled, mapping: Mapping, reason: ParkReason, problems: Sequence[str]) -> None:
    """The first reason is that of the record; all problems are kept."""
    before = handled.unfit
    said = [f"{mapping.name}: {problem}" for problem in problems]
    handled.unfit = UnfitError(before.reason if before else reason, *(before.problems if before else ()), *said)
    handled.mappings.append(mapping.name)


def _shown(text: str | None) -> str | None:
    return text[:_LONGEST_NAME] if text else None
