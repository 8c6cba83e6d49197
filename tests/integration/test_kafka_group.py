"""How far a group is behind, seen from outside."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import pytest

from adapters.kafka import group as watching
from adapters.kafka.connection import BrokersAwayError, Connection
from adapters.kafka.consumer import inflow
from adapters.kafka.group import KafkaGroup
from entrypoints.logs import Lines
from tests.fakes.kafka import KafkaBroker, OwnKafkaBroker, Record

NO_TOPIC, TOPIC_NOT_ALLOWED = 3, 29


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_FRESH", 0.0)


async def test_the_lag_is_what_nobody_has_taken_in(kafka: KafkaBroker) -> None:
    topic, other, missing = kafka.topic(partitions=3), kafka.topic(), f"missing-{uuid4().hex}"
    connection, name = Connection((kafka.brokers,), "test"), f"g-{uuid4().hex}"
    group = KafkaGroup(connection, name, [topic, other, missing])
    await kafka.produce(topic, *(Record(b"x", key=str(n).encode()) for n in range(10)))
    try:
        assert (await _first_lag(group))[topic] == 10
        left = 10
        async with inflow(connection, name, [topic], timedelta(seconds=6), Lines("consumer")) as flow:
            while left:
                records = await flow.next()
                assert (await group.lag())[topic] == left
                await flow.done(records)
                left -= len(records)
                assert (await group.lag())[topic] == left
        assert await group.lag() == {topic: 0, other: 0, missing: 0}
        assert topic not in group.troubles
    finally:
        await group.close()


async def test_brokers_that_are_away_are_said_to_be_and_known_when_they_are_back(own_kafka: OwnKafkaBroker) -> None:
    topic = own_kafka.topic()
    group = KafkaGroup(Connection((own_kafka.brokers,), "test"), "g", [topic])
    try:
        assert await group.lag() == {topic: 0}
        own_kafka.spoil(topic, TOPIC_NOT_ALLOWED)
        assert await group.lag() == {topic: 0}
        assert group.troubles == {topic: "refuses us"}
        own_kafka.spoil(topic, NO_TOPIC)
        await group.lag()
        assert group.troubles == {topic: "is not there"}
        own_kafka.spoil(topic, 0)
        own_kafka.go_down()
        with pytest.raises(BrokersAwayError, match="does not answer"):
            await group.lag()
        own_kafka.come_up()
        assert await group.lag() == {topic: 0}
    finally:
        await group.close()


async def _first_lag(group: KafkaGroup) -> dict[str, int]:
    """As soon as brokers that nobody has asked before have made their books of groups."""
    async with asyncio.timeout(60):
        while True:
            with suppress(BrokersAwayError):
                return await group.lag()
