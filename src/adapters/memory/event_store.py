"""The log of this process: the bytes that PostgreSQL would keep, in a list."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate
from eventsourcing.persistence import StoredEvent

from adapters.event_mapper import EventMapper, tenant_of
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys, WrappedKey
from adapters.stored import append_of, persons_of, replayed
from application.ports.log import ConflictError, Recorded, StaleError
from domain.chain import Entry

A = TypeVar("A", bound=Aggregate)


class MemoryEventStore:
    """Implements the ports EventStore, EventLog, StoredLog and Persons.

    An event's position is its place in the list, from 1.
    """

    def __init__(self, due: MemoryDueWork, wakeups: MemoryWakeups, mapper: EventMapper, keys: PersonKeys) -> None:
        self._due = due
        self._wakeups = wakeups
        self._mapper = mapper
        self._keys = keys
        self._wrapped: dict[UUID, WrappedKey] = {}
        self._log: list[StoredEvent] = []
        self._places: dict[UUID | str, dict[int, int]] = {}

    async def save(self, *aggregates: Aggregate, urgent: bool = True, seen: Mapping[UUID, int] | None = None) -> int:
        events = [event for aggregate in aggregates for event in aggregate.collect_events()]
        await asyncio.sleep(0)  # others may come first, as they may with a real store
        self._load_keys(persons_of(events))
        append = append_of(events, aggregates, self._mapper, self._keys)
        if any(e.originator_version in self._places.get(e.originator_id, ()) for e in append.events):
            raise ConflictError("the stream has grown meanwhile")
        if any(len(self._places.get(id, ())) > length for id, length in (seen or {}).items()):
            raise StaleError("what was decided on has changed meanwhile")
        for event in append.events:
            self._log.append(event)
            self._places.setdefault(event.originator_id, {})[event.originator_version] = len(self._log)
        self._wrapped |= {key.person: key for key in append.keys}
        self._keys.stored(append.keys)
        self._due.write(append.due)
        self._due.write_lanes(append.lanes)
        new = {event.originator_id for event in append.events if event.originator_version == 1}
        await self._due.put_to_takers(row for row in append.due if row.notification in new)
        self._wakeups.ring()
        return len(self._log)

    async def get(self, kind: type[A], id: UUID) -> A | None:
        return (await self.get_many(kind, [id])).get(id)

    async def get_many(self, kind: type[A], ids: Collection[UUID], *, personal: bool = True) -> dict[UUID, A]:
        histories = [await self.history(id, personal=personal) for id in set(ids)]
        return replayed(kind, [recorded.event for history in histories for recorded in history])

    async def history(self, id: UUID, *, personal: bool = True) -> list[Recorded]:
        return self._recorded(self._places.get(id, {}).values(), personal=personal)

    async def length(self, id: UUID) -> int:
        return len(self._places.get(id, {}))

    async def read(
        self, after: int, limit: int, topics: Sequence[str] = (), *, until: int | None = None, personal: bool = True
    ) -> list[Recorded]:
        last = len(self._log) if until is None else min(until, len(self._log))
        later = range(after + 1, last + 1)
        found = [position for position in later if not topics or self._log[position - 1].topic in topics]
        return self._recorded(found[:limit], personal=personal)

    async def head(self) -> int:
        return len(self._log)

    async def entries(self, after: int, limit: int) -> list[Entry]:
        later = enumerate(self._log[after : after + limit], after + 1)
        return [
            Entry(tenant_of(e.state), position, e.originator_id, e.originator_version, e.topic, e.state)  # type: ignore[arg-type]
            for position, e in later
        ]

    def person(self, tenant: str, address: str) -> UUID:
        return self._keys.person(tenant, address)

    async def forget(self, tenant: str, address: str) -> int:
        subject = self._keys.subject(tenant, address)
        gone = [key.person for key in self._wrapped.values() if key.subject == subject]
        for person in gone:
            del self._wrapped[person]
        self._keys.forget(subject)
        self._keys.load(gone, [])
        return len(gone)

    def _recorded(self, positions: Iterable[int], *, personal: bool = True) -> list[Recorded]:
        found = list(positions)
        opened = self._mapper.opened([self._log[position - 1] for position in found])
        if personal:
            self._load_keys(opened.persons)
        events = opened.events(personal=personal)
        return [Recorded(position, event) for position, event in zip(found, events, strict=True)]

    def _load_keys(self, persons: Iterable[UUID]) -> None:
        unknown = self._keys.unknown(persons)
        found = [key for person in unknown if (key := self._wrapped.get(person))]
        self._keys.load(unknown, [(key.person, key.wrapped) for key in found])
