"""The event store and the log on PostgreSQL."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.domain import Aggregate
from eventsourcing.persistence import StoredEvent

from adapters.event_mapper import EventMapper
from adapters.group_commit import GroupCommit, Writer
from adapters.person_keys import PersonKeys
from adapters.postgres.database import Database
from adapters.postgres.lately_read import LatelyRead, entry_of
from adapters.postgres.notices import Row
from adapters.stored import append_of, persons_of, replayed
from application.ports.log import Recorded
from domain.chain import Entry

A = TypeVar("A", bound=Aggregate)

_EVENTS = "SELECT originator_id, originator_version, topic, state, notification_id FROM stored_events"
_STRETCH = 100_000
"""Positions that are searched for topics at a time: some hundredths of a second."""


class PostgresEventStore:
    """Implements the ports EventStore, EventLog, StoredLog and Persons over one log."""

    def __init__(self, database: Database, write: Writer, mapper: EventMapper, keys: PersonKeys) -> None:
        self._database = database
        self._commit = GroupCommit(write)
        self._mapper = mapper
        self._keys = keys
        self.lately = LatelyRead(self)

    async def save(self, *aggregates: Aggregate, urgent: bool = True, seen: Mapping[UUID, int] | None = None) -> int:
        events = [event for aggregate in aggregates for event in aggregate.collect_events()]
        if not events:
            return await self.head()
        await self._load_keys(persons_of(events))
        append = append_of(events, aggregates, self._mapper, self._keys, seen)
        position = await self._commit.put(append, urgent=urgent)
        self._keys.stored(append.keys)
        return position

    async def get(self, kind: type[A], id: UUID) -> A | None:
        return (await self.get_many(kind, [id])).get(id)

    async def get_many(self, kind: type[A], ids: Collection[UUID], *, personal: bool = True) -> dict[UUID, A]:
        rows = await self._database.rows(
            "SELECT originator_id, originator_version, topic, state, 0 FROM stored_events"
            " WHERE originator_id = ANY(%b::uuid[]) ORDER BY originator_id, originator_version",
            (list(ids),),
        )
        return await self.made_of(kind, rows, personal=personal)

    async def made_of(self, kind: type[A], rows: Sequence[Row], *, personal: bool = True) -> dict[UUID, A]:
        """The aggregates that these rows make, each stream's being in order."""
        return replayed(kind, [recorded.event for recorded in await self._recorded(rows, personal=personal)])

    async def history(self, id: UUID, *, personal: bool = True) -> list[Recorded]:
        rows = await self._database.rows(f"{_EVENTS} WHERE originator_id = %s ORDER BY originator_version", (id,))
        return await self._recorded(rows, personal=personal)

    async def length(self, id: UUID) -> int:
        ((length,),) = await self._database.rows(
            "SELECT coalesce(max(originator_version), 0) FROM stored_events WHERE originator_id = %s", (id,)
        )
        return int(length)

    async def read(
        self, after: int, limit: int, topics: Sequence[str] = (), *, until: int | None = None, personal: bool = True
    ) -> list[Recorded]:
        if topics:
            rows = await self._of_topics(after, limit, topics, await self.head() if until is None else until)
        else:
            rows = await self._rows(after, limit, until)
            self.lately.keep(after, rows)
        return await self._recorded(rows, personal=personal)

    async def _of_topics(self, after: int, limit: int, topics: Sequence[str], until: int) -> list[Row]:
        """What is seldom may be far away: one statement for all of the way would take longer than it may."""
        found: list[Row] = []
        while after < until and len(found) < limit:
            end = min(after + _STRETCH, until)
            found += await self._database.rows(
                f"{_EVENTS} WHERE notification_id > %s AND notification_id <= %s AND topic = ANY(%s)"
                " ORDER BY notification_id LIMIT %s",
                (after, end, list(topics), limit - len(found)),
            )
            after = end
        return found

    async def _rows(self, after: int, limit: int, until: int | None) -> list[Row]:
        up_to = "" if until is None else " AND notification_id <= %s"
        return await self._database.rows(
            f"{_EVENTS} WHERE notification_id > %s{up_to} ORDER BY notification_id LIMIT %s",
            (after, limit) if until is None else (after, until, limit),
        )

    async def head(self) -> int:
        ((head,),) = await self._database.rows("SELECT coalesce(max(notification_id), 0) FROM stored_events", ())
        return int(head)

    async def entries(self, after: int, limit: int) -> list[Entry]:
        return [entry_of(row) for row in await self._rows(after, limit, until=None)]

    def person(self, tenant: str, address: str) -> UUID:
        return self._keys.person(tenant, address)

    async def forget(self, tenant: str, address: str) -> int:
        subject = self._keys.subject(tenant, address)
        gone = await self._database.rows("DELETE FROM person_keys WHERE subject = %s RETURNING person", (subject,))
        self._keys.forget(subject)
        self._keys.load([person for (person,) in gone], [])
        return len(gone)

    async def close(self) -> None:
        """Write what waits; further saves are refused."""
        await self._commit.close()

    async def _recorded(self, rows: Sequence[tuple[Any, ...]], *, personal: bool = True) -> list[Recorded]:
        opened = self._mapper.opened([StoredEvent(*row[:4]) for row in rows])
        if personal:
            await self._load_keys(opened.persons)
        events = opened.events(personal=personal)
        return [Recorded(row[4], event) for row, event in zip(rows, events, strict=True)]

    async def _load_keys(self, persons: Iterable[UUID]) -> None:
        unknown = self._keys.unknown(persons)
        if unknown:
            rows = await self._database.rows(
                "SELECT person, wrapped FROM person_keys WHERE person = ANY(%b::uuid[])", (unknown,)
            )
            self._keys.load(unknown, rows)
