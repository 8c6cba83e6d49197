"""Records as a member of a group is given them."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from aiokafka.consumer.fetcher import PartitionRecords

from adapters.kafka.connection import Connection
from adapters.kafka.consumer import KafkaInflow, inflow
from tests.fakes.kafka import KafkaBroker, OwnKafkaBroker, Record

SYNC_GROUP, INVALID_REQUEST = 14, 42
SESSION = timedelta(seconds=6)


def member(broker: KafkaBroker, group: str, topic: str):
    return inflow(Connection((broker.brokers,), "test"), group, [topic], SESSION)


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


async def test_a_record_whose_bytes_cannot_be_read_is_stepped_over_and_nothing_else(kafka, group, monkeypatch) -> None:
    topic = kafka.topic(partitions=2)
    sound = PartitionRecords._consumer_record

    def torn(self, place, record):
        if place.partition == 0 and record.offset == 3:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "of a header")
        return sound(self, place, record)

    monkeypatch.setattr(PartitionRecords, "_consumer_record", torn)
    await kafka.produce(topic, *(Record(str(n).encode(), key=b"k", partition=n % 2) for n in range(20)))
    async with member(kafka, group, topic) as flow:
        found: dict[tuple[int, int], str | None] = {}
        async with asyncio.timeout(60):
            while len(found) < 20:
                records = await flow.next()
                found |= {(each.origin.partition, each.origin.offset): each.unreadable for each in records}
                await flow.done(records)
    assert {place for place, why in found.items() if why} == {(0, 3)}
    assert found[0, 3] == "UnicodeDecodeError"
