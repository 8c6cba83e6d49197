"""What keeps Kafka from being told, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

from adapters.kafka import connection, event_topic
from adapters.kafka.connection import Connection
from adapters.kafka.event_topic import KafkaEventTopic
from application.ports.publishing import Announcement, Untold
from tests.fakes.kafka import PRODUCE, OwnKafkaBroker

AWAY = "no broker can be reached, or none lets us in"
NO_TOPIC, TOO_LARGE, NOT_ENOUGH_REPLICAS, NOT_ALLOWED, POLICY = 3, 10, 19, 29, 44


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_REQUEST_SECONDS", 1)
    monkeypatch.setattr(event_topic, "_PATIENCE", 1.5)


@pytest.fixture
async def topic(own_kafka: OwnKafkaBroker) -> AsyncIterator[KafkaEventTopic]:
    topic = KafkaEventTopic(Connection((own_kafka.brokers,), "test"), own_kafka.topic(partitions=1))
    yield topic
    await topic.close()


def told(*ids: str) -> list[Announcement]:
    return [Announcement(id, "key", id.encode()) for id in ids]


async def test_a_broker_that_is_away_is_a_value_and_is_told_when_it_is_back(
    topic: KafkaEventTopic, own_kafka: OwnKafkaBroker
) -> None:
    own_kafka.go_down()
    assert await topic.publish(told("1", "2")) == Untold(frozenset({"1", "2"}), AWAY)
    assert await topic.problem() == AWAY
    own_kafka.come_up()
    assert await topic.publish(told("1", "2")) is None
    assert await topic.problem() is None
    assert [each.value for each in await own_kafka.read(topic._topic, 2)] == [b"1", b"2"]


async def test_a_broker_that_goes_away_under_way_is_noticed(topic: KafkaEventTopic, own_kafka: OwnKafkaBroker) -> None:
    assert await topic.publish(told("1")) is None
    own_kafka.go_down()
    untold = await topic.publish(told("2"))
    assert untold
    assert untold.ids == {"2"}
    own_kafka.come_up()
    assert await topic.publish(told("2")) is None
    assert [each.value for each in await own_kafka.read(topic._topic, 2)] == [b"1", b"2"]


async def test_a_broker_that_freezes_does_not_hold_us_up(topic: KafkaEventTopic, own_kafka: OwnKafkaBroker) -> None:
    assert await topic.publish(told("1")) is None
    own_kafka.freeze()
    async with asyncio.timeout(20):
        untold = await topic.publish(told("2"))
        assert untold
        assert await topic.problem()
    own_kafka.thaw()
    assert await topic.publish(told("2")) is None
    values = [each.value for each in await own_kafka.read(topic._topic, 2)]
    assert list(dict.fromkeys(values)) == [b"1", b"2"]


async def test_what_can_be_tried_again_is(topic: KafkaEventTopic, own_kafka: OwnKafkaBroker) -> None:
    own_kafka.fail(PRODUCE, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS)
    assert await topic.publish(told("1")) is None
    assert await own_kafka.held(topic._topic) == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (NOT_ALLOWED, "the brokers do not let us write to the topic"),
        (TOO_LARGE, "takes no records of this size"),
        (POLICY, "the brokers refuse it: PolicyViolationError"),
    ],
)
async def test_what_is_refused_is_said_in_words(
    topic: KafkaEventTopic, own_kafka: OwnKafkaBroker, code: int, said: str
) -> None:
    own_kafka.fail(PRODUCE, code)
    untold = await topic.publish(told("1"))
    assert untold
    assert said in untold.problem
    assert await topic.publish(told("1")) is None


async def test_behind_what_is_refused_nothing_of_its_partition_arrives(
    topic: KafkaEventTopic, own_kafka: OwnKafkaBroker
) -> None:
    topic._most_bytes = 1_000
    many = [Announcement(str(n), "key", b"." * 600) for n in range(4)]
    own_kafka.fail(PRODUCE, TOO_LARGE)
    untold = await topic.publish(many)
    assert untold
    assert untold.ids == {"0", "1", "2", "3"}
    assert await own_kafka.held(topic._topic) == 0


async def test_whoever_is_stopped_lets_go_at_once(topic: KafkaEventTopic, own_kafka: OwnKafkaBroker) -> None:
    assert await topic.publish(told("1")) is None
    own_kafka.freeze()
    publishing = asyncio.create_task(topic.publish(told("2")))
    await asyncio.sleep(0.1)
    publishing.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([publishing])
    assert publishing.cancelled()


async def test_a_topic_that_is_not_there_is_said(topic: KafkaEventTopic, own_kafka: OwnKafkaBroker) -> None:
    said = f"there is no topic {topic._topic}"
    own_kafka.spoil(topic._topic, NO_TOPIC)
    assert await topic.problem() == said
    assert await topic.publish(told("1")) == Untold(frozenset({"1"}), said)
    own_kafka.spoil(topic._topic, 0)
    assert await topic.publish(told("1")) is None


async def test_where_a_topic_takes_little_at_a_time_it_is_given_little(
    topic: KafkaEventTopic, own_kafka: OwnKafkaBroker
) -> None:
    many = [Announcement(str(n), "key", b"." * 600) for n in range(40)]
    own_kafka.fail(PRODUCE, TOO_LARGE, TOO_LARGE)
    for _ in range(2):
        untold = await topic.publish(many)
        assert untold
        assert len(untold.ids) == 40
    own_kafka.fail(PRODUCE, 0, TOO_LARGE)
    untold = await topic.publish(many)
    assert untold
    arrived = 40 - len(untold.ids)
    assert 0 < arrived < 20
    assert untold.ids == {str(n) for n in range(arrived, 40)}


async def test_one_record_that_is_too_large_makes_no_batches_smaller(
    topic: KafkaEventTopic, own_kafka: OwnKafkaBroker
) -> None:
    before = topic._most_bytes
    own_kafka.fail(PRODUCE, TOO_LARGE)
    assert await topic.publish(told("1"))
    assert topic._most_bytes == before


async def test_batches_grow_again_when_all_is_taken_for_a_while(
    topic: KafkaEventTopic, own_kafka: OwnKafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_topic, "_GOOD_ENOUGH", 2)
    usual = topic._most_bytes
    own_kafka.fail(PRODUCE, TOO_LARGE)
    assert await topic.publish(told("1", "2"))
    assert topic._most_bytes < usual
    for id in ("3", "4"):
        assert await topic.publish(told(id)) is None
    assert topic._most_bytes == usual
    assert await topic.publish(told("5")) is None
    assert [each.value for each in await own_kafka.read(topic._topic, 3)] == [b"3", b"4", b"5"]


async def test_what_is_on_its_way_is_known_though_the_next_batch_cannot_be_handed_over(
    own_kafka: OwnKafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = KafkaEventTopic(Connection((own_kafka.brokers,), "test"), own_kafka.topic(partitions=2))
    handed: list[int] = []
    send = AIOKafkaProducer.send_batch

    async def refusing(self, batch, name, *, partition):
        if handed:
            await asyncio.wait(handed)
            raise KafkaTimeoutError
        handed.append(await send(self, batch, name, partition=partition))
        return handed[0]

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", refusing)
    many = [Announcement(str(n), f"key-{n}", b".") for n in range(20)]
    untold = await topic.publish(many)
    await topic.close()
    assert untold
    assert 0 < len(untold.ids) < 20
    assert await own_kafka.held(topic._topic) == 20 - len(untold.ids)
