"""How often what became of records."""

import asyncio

import pytest

from adapters.memory.records import MemoryRecordCounts
from adapters.postgres.database import Database
from adapters.postgres.records import PostgresRecordCounts
from application.processes.consume import RecordCounts


@pytest.fixture
def counts(storage: Database | None) -> RecordCounts:
    return MemoryRecordCounts() if storage is None else PostgresRecordCounts(storage)


async def test_counts_add_up(counts):
    await counts.add({("users", "accepted"): 2, ("orders", "parked"): 1})
    await counts.add({("users", "accepted"): 3})
    await counts.add({})
    assert await counts.all() == {("orders", "parked"): 1, ("users", "accepted"): 5}


async def test_none_is_lost_when_many_count_at_once(counts):
    facts = [("users", "accepted"), ("orders", "accepted"), ("orders", "parked")]
    both = (dict.fromkeys(facts, 1), dict.fromkeys(reversed(facts), 1))
    await asyncio.gather(*(counts.add(both[n % 2]) for n in range(20)))
    assert await counts.all() == dict.fromkeys(sorted(facts), 20)
