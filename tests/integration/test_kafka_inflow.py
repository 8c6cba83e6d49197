"""Records as a member of a group is given them."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException

from adapters.kafka import consumer
from adapters.kafka.connection import Connection
from adapters.kafka.consumer import KafkaInflow, inflow
from domain.parked import Origin
from tests.fakes.kafka import KafkaBroker, OwnKafkaBroker, Record

SYNC_GROUP, INVALID_REQUEST = 14, 42
SESSION = timedelta(seconds=6)


class Log:
    def __init__(self) -> None:
        self.unreadable: list[tuple[int, int]] = []
        self.uncommitted_ends: list[Mapping[str, int]] = []

    def unreadable_record(self, origin: Origin, error: Exception) -> None:
        self.unreadable.append((origin.partition, origin.offset))

    def uncommitted(self, ends: Mapping[str, int], error: Exception) -> None:
        self.uncommitted_ends.append(ends)


def member(broker: KafkaBroker, group: str, topic: str, log: Log | None = None):
    return inflow(Connection((broker.brokers,), "test"), group, [topic], SESSION, log or Log())


async def read(flow: KafkaInflow, count: int, *, done: bool = True) -> list[bytes]:
    found: list[bytes] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            records = await flow.next()
            found += [each.value or b"" for each in records]
            if done:
                await flow.done(records)
    return found


@pytest.fixture
def group() -> str:
    return f"g-{uuid4().hex}"


def numbered(count: int) -> list[Record]:
    return [Record(str(n).encode(), key=str(n % 7).encode(), headers=(("h", b"1"),)) for n in range(count)]


async def test_what_was_not_done_comes_again_and_what_was_does_not(kafka, group) -> None:
    topic = kafka.topic(partitions=2)
    await kafka.produce(topic, *numbered(20))
    async with member(kafka, group, topic) as flow:
        first = await read(flow, 20, done=False)
    async with member(kafka, group, topic) as flow:
        assert sorted(await read(flow, 20)) == sorted(first)
    await kafka.produce(topic, Record(b"new"))
    async with member(kafka, group, topic) as flow:
        assert await read(flow, 1) == [b"new"]


async def test_a_record_comes_with_all_that_its_producer_wrote(kafka, group) -> None:
    topic = kafka.topic(partitions=1)
    await kafka.produce(topic, Record(b"v", key=b"k", headers=(("a", b"1"), ("a", b"2"))), Record(None, key=b"gone"))
    async with member(kafka, group, topic) as flow:
        found = []
        while len(found) < 2:
            found += await flow.next()
    first, tombstone = found
    assert (first.key, first.value, first.headers) == (b"k", b"v", (("a", b"1"), ("a", b"2")))
    assert (first.origin.topic, first.origin.partition, first.origin.offset) == (topic, 0, 0)
    assert first.origin.timestamp > 1_700_000_000_000
    assert tombstone.value is None


async def test_a_broker_that_is_away_for_a_while_delays_and_nothing_else(own_kafka: OwnKafkaBroker, group) -> None:
    topic = own_kafka.topic(partitions=1)
    async with member(own_kafka, group, topic) as flow:
        await own_kafka.produce(topic, Record(b"before"))
        assert await read(flow, 1) == [b"before"]
        own_kafka.go_down()
        assert await flow.next() == []
        own_kafka.come_up()
        await own_kafka.produce(topic, Record(b"after"))
        assert await read(flow, 1) == [b"after"]


async def test_an_odd_answer_while_the_group_takes_shape_is_no_reason_to_leave(
    own_kafka: OwnKafkaBroker, group
) -> None:
    topic = own_kafka.topic(partitions=1)
    await own_kafka.produce(topic, Record(b"1"))
    own_kafka.fail(SYNC_GROUP, INVALID_REQUEST, INVALID_REQUEST)
    async with member(own_kafka, group, topic) as flow:
        assert await read(flow, 1) == [b"1"]


Place = tuple[int, int]


def tear(monkeypatch: pytest.MonkeyPatch, is_torn: Callable[[Place], bool], error: Exception | None = None) -> None:
    """Let aiokafka raise of these records, by partition and offset."""
    sound = PartitionRecords._consumer_record

    def torn(self, place, record):
        if is_torn((place.partition, record.offset)):
            raise error or UnicodeDecodeError("utf-8", b"\xff", 0, 1, "of a header")
        return sound(self, place, record)

    monkeypatch.setattr(PartitionRecords, "_consumer_record", torn)


async def places(flow: KafkaInflow, count: int, within: float = 60) -> list[tuple[Place, str | None]]:
    found: list[tuple[Place, str | None]] = []
    async with asyncio.timeout(within):
        while len(found) < count:
            records = await flow.next()
            found += [((each.origin.partition, each.origin.offset), each.unreadable) for each in records]
            await flow.done(records)
    return found


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "_PAUSES", (0.0, 0.0))


async def test_a_record_whose_bytes_cannot_be_read_is_stepped_over_and_nothing_else(
    kafka, group, monkeypatch, no_rest
) -> None:
    topic, log, tried = kafka.topic(partitions=2), Log(), Counter[Place]()

    def is_torn(place: Place) -> bool:
        tried[place] += 1
        return place == (0, 3)

    tear(monkeypatch, is_torn)
    await kafka.produce(topic, *(Record(str(n).encode(), key=b"k", partition=n % 2) for n in range(20)))
    async with member(kafka, group, topic, log) as flow:
        found = dict(await places(flow, 20))
    assert len(found) == 20
    assert {place for place, why in found.items() if why} == {(0, 3)}
    assert found[0, 3] == "UnicodeDecodeError"
    assert log.unreadable == [(0, 3)]
    assert tried[0, 3] >= 3


async def test_what_can_be_read_the_next_time_is(kafka, group, monkeypatch, no_rest) -> None:
    topic, log, times = kafka.topic(partitions=1), Log(), [1, 2, 3]

    def is_torn(place: Place) -> bool:
        return place == (0, 2) and bool(times) and bool(times.pop())

    tear(monkeypatch, is_torn, CorruptRecordException("Invalid CRC"))
    await kafka.produce(topic, *numbered(5))
    async with member(kafka, group, topic, log) as flow:
        assert await places(flow, 5) == [((0, n), None) for n in range(5)]
    assert not times
    assert log.unreadable == []


async def test_while_one_partition_rests_the_others_go_on(kafka, group, monkeypatch) -> None:
    monkeypatch.setattr(consumer, "_PAUSES", (600.0, 600.0))
    topic = kafka.topic(partitions=4)
    tear(monkeypatch, lambda place: place == (0, 1))
    async with member(kafka, group, topic) as flow:
        await kafka.produce(topic, *(Record(str(n).encode(), partition=n % 4) for n in range(40)))
        assert sorted(place for place, _ in await places(flow, 31)) == [
            (0, 0),
            *((partition, offset) for partition in (1, 2, 3) for offset in range(10)),
        ]
        await kafka.produce(topic, *(Record(b"more", partition=n % 3 + 1) for n in range(30)))
        assert len(await places(flow, 30)) == 30


async def test_many_bad_records_cost_no_polls_of_the_other_partitions(kafka, group, monkeypatch, no_rest) -> None:
    """A poll that waits takes a second: for ten bad records in one of eight partitions there are not so many."""
    topic, bad = kafka.topic(partitions=8), {(0, 2 * n + 1) for n in range(10)}
    tear(monkeypatch, lambda place: place in bad)
    await kafka.produce(topic, *(Record(str(n).encode(), partition=n % 8) for n in range(211)))
    waited: list[float] = []
    async with member(kafka, group, topic) as flow:
        found = dict(await places(flow, 1))
        first = flow._first

        async def counted(seconds: float):
            began = time.monotonic()
            records = await first(seconds)
            if not records and time.monotonic() - began > 0.5:
                waited.append(seconds)
            return records

        monkeypatch.setattr(flow, "_first", counted)
        found |= dict(await places(flow, 211 - len(found)))
    assert {place for place, why in found.items() if why} == bad
    assert waited == []


async def test_what_is_no_fault_of_a_record_is_raised(kafka, group, monkeypatch) -> None:
    topic = kafka.topic(partitions=1)
    tear(monkeypatch, lambda _: True, ZeroDivisionError("a mistake of ours"))
    await kafka.produce(topic, Record(b"1"))
    with pytest.raises(ZeroDivisionError):
        async with member(kafka, group, topic) as flow:
            await places(flow, 1)


async def test_what_is_no_record_is_read_past(kafka, group, monkeypatch) -> None:
    """The marks at the end of transactions have offsets, and nobody is ever given them."""
    topic, sound = kafka.topic(partitions=1), PartitionRecords._unpack_records

    def without_marks(self):
        yield from (each for each in sound(self) if each.value != b"mark")

    monkeypatch.setattr(PartitionRecords, "_unpack_records", without_marks)
    await kafka.produce(topic, Record(b"1"), Record(b"mark"))
    async with member(kafka, group, topic) as flow:
        first = await _some(flow)
        place = TopicPartition(topic, 0)
        assert await flow.next() == []
        assert await flow._consumer.committed(place) is None
        await flow.done(first)
        assert await flow._consumer.committed(place) == 1
        async with asyncio.timeout(30):
            while await flow._consumer.committed(place) != 2:
                assert await flow.next() == []


async def test_what_is_held_is_done_before_its_partition_goes_to_somebody_else(kafka, group) -> None:
    topic = kafka.topic(partitions=1)
    await kafka.produce(topic, Record(b"1"), Record(b"2"))
    async with member(kafka, group, topic) as flow:
        held = []
        async with asyncio.timeout(60):
            while len(held) < 2:
                held += await flow.next()
        handing_over = asyncio.create_task(flow.on_partitions_revoked([]))
        await asyncio.wait([handing_over], timeout=0.1)
        assert not handing_over.done()
        await flow.done(held)
        await asyncio.wait_for(handing_over, 5)
        assert await flow._consumer.committed(TopicPartition(topic, 0)) == 2


@pytest.mark.skipif("KAFKA_BROKERS" not in os.environ, reason="librdkafka's broker lets nobody join meanwhile")
async def test_whoever_joins_is_given_what_others_hold_only_behind_it(kafka, group) -> None:
    topic = kafka.topic(partitions=2)
    await kafka.produce(topic, *(Record(str(n).encode(), partition=n % 2) for n in range(20)))
    async with member(kafka, group, topic) as first:
        held = []
        async with asyncio.timeout(60):
            while len(held) < 20:
                held += await first.next()
        async with member(kafka, group, topic) as second:
            joining = asyncio.create_task(_until_joined(second))
            await asyncio.wait([joining], timeout=SESSION.total_seconds() / 3)
            assert not joining.done()
            await first.done(held)
            staying = asyncio.create_task(_keeps_reading(first))
            assert await joining == []
            await kafka.produce(topic, *(Record(b"new", partition=n) for n in (0, 1)))
            (only,) = await places(second, 1)
            staying.cancel()
    assert only[0][1] == 10


async def _until_joined(flow: KafkaInflow) -> list[object]:
    found: list[object] = []
    while not flow.joined:
        found += await flow.next()
    return found


async def _keeps_reading(flow: KafkaInflow) -> None:
    while True:
        await flow.done(await flow.next())


async def test_what_is_somebody_else_s_by_now_is_not_taken_for_read_and_that_is_said(kafka, group, monkeypatch) -> None:
    monkeypatch.setattr(consumer, "_HAND_OVER_SECONDS", 0.1)
    topic, log = kafka.topic(partitions=1), Log()
    await kafka.produce(topic, Record(b"1"))
    async with member(kafka, group, topic, log) as flow:
        records = await _some(flow)
        flow._consumer._coordinator.generation = 1_000
        await flow.done(records)
        assert log.uncommitted_ends == [{f"{topic}/0": 1}]


async def _some(flow: KafkaInflow):
    async with asyncio.timeout(60):
        while True:
            if records := await flow.next():
                return records
