"""Every contract runs on both adapters of its port, each with time as it passes there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from eventsourcing.persistence import StoredEvent

from adapters.allowance import Allowance
from adapters.event_mapper import EventMapper
from adapters.memory.budget import MemoryProviderBudget
from adapters.memory.due_work import MemoryDueWork
from adapters.memory.event_store import MemoryEventStore
from adapters.memory.offers import MemoryOffers
from adapters.memory.wakeup import MemoryWakeups
from adapters.person_keys import PersonKeys
from adapters.postgres.arrivals import Arrivals
from adapters.postgres.budget import PostgresProviderBudget
from adapters.postgres.database import Database, open_pool
from adapters.postgres.due_work import PostgresDueWork
from adapters.postgres.event_store import PostgresEventStore
from adapters.postgres.log_writer import LogWriter, open_append_pool
from adapters.postgres.offers import PostgresOffers
from application.ports.time_and_chance import Clock
from tests.fakes.chance import MachineClock, SetClock

T = TypeVar("T")

MASTER_KEY = bytes(range(32))
ALLOWANCES = {"slow": Allowance(per_second=20), "daily": Allowance(per_day=100)}


class Passing:
    """Time where an adapter lives: a set clock moves by steps, a real one by itself."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def now(self) -> datetime:
        return self.clock.now()

    async def until(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Let time pass until the answer is true, for five seconds at most."""
        last = self.now() + timedelta(seconds=5)
        while not (answer := await ask()):
            assert self.now() < last, "it did not happen within five seconds"
            if isinstance(self.clock, SetClock):
                self.clock.move(timedelta(milliseconds=20))
            else:
                await asyncio.sleep(0.02)
        return answer


class MemoryHouse:
    """A log with its schedule, as one process has it."""

    def __init__(self, time: Passing) -> None:
        self.time = time
        self.budget = MemoryProviderBudget(time, ALLOWANCES)
        self.due, self.wakeups = MemoryDueWork(time, self.budget), MemoryWakeups()
        self.events = MemoryEventStore(self.due, self.wakeups, EventMapper(keys := PersonKeys(MASTER_KEY)), keys)
        self.offers = MemoryOffers(self.due, self.budget, time)

    async def bytes_stored(self) -> list[bytes]:
        return [stored.state for stored in self.events._log]

    async def store_instead(self, position: int, state: bytes) -> None:
        stored = self.events._log[position - 1]
        place = stored.originator_id, stored.originator_version
        self.events._log[position - 1] = StoredEvent(*place, stored.topic, state)


class PostgresHouse:
    """A log with its schedule, as one of several processes on a database has it."""

    def __init__(self, conninfo: str) -> None:
        self.time = Passing(MachineClock())
        self.appending = open_append_pool(conninfo, lock_timeout=1)
        self.pool = open_pool(conninfo, most=10)
        self.pool.timeout = self.appending.timeout = 1.0
        self.database = Database(self.pool)
        self.budget = PostgresProviderBudget(self.database, ALLOWANCES)
        self.due = PostgresDueWork(self.database, self.budget)
        writer = LogWriter(self.appending)
        self.events = PostgresEventStore(
            self.database, writer.append, EventMapper(keys := PersonKeys(MASTER_KEY)), keys
        )
        self.arrivals = Arrivals(self.events)
        self.offers = PostgresOffers(self.database, self.budget, self.arrivals.put)

    async def __aenter__(self) -> "PostgresHouse":
        await self.pool.open()
        await self.appending.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.events.close()
        await self.appending.close()
        await self.pool.close()

    async def bytes_stored(self) -> list[bytes]:
        return [bytes(state) for (state,) in await self.database.rows("SELECT state FROM stored_events")]

    async def store_instead(self, position: int, state: bytes) -> None:
        await self.database.rows("UPDATE stored_events SET state = %s WHERE notification_id = %s", (state, position))


@pytest.fixture(params=["memory", "postgres"])
def adapter(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(adapter: str, request: pytest.FixtureRequest) -> str | None:
    """Where the adapter keeps its things; None: in memory."""
    return request.getfixturevalue("conninfo") if adapter == "postgres" else None


@pytest.fixture
async def storage(server: str | None) -> AsyncIterator[Database | None]:
    """The adapter's database, if that is what it keeps its things in."""
    if server is None:
        yield None
        return
    async with open_pool(server, most=10) as pool:
        yield Database(pool)


@pytest.fixture
def time(server: str | None) -> Passing:
    return Passing(MachineClock() if server else SetClock(datetime.now(UTC)))


@pytest.fixture
async def house(server: str | None, time: Passing) -> AsyncIterator[MemoryHouse | PostgresHouse]:
    if server is None:
        yield MemoryHouse(time)
        return
    async with PostgresHouse(server) as house:
        yield house
