"""What other systems are told arrives, in order, or is named as what did not."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from adapters.kafka.connection import Connection
from adapters.kafka.event_topic import KafkaEventTopic
from adapters.memory.event_topic import MemoryEventTopic
from application.ports.publishing import Announcement, EventTopic
from tests.fakes.kafka import KafkaBroker

Arrived = Callable[[int], Awaitable[list[Announcement]]]


class Rig:
    """A topic with what arrived in it."""

    def __init__(self, topic: EventTopic, arrived: Arrived) -> None:
        self.topic = topic
        self.arrived = arrived


@pytest.fixture(params=["memory", "kafka"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        memory = MemoryEventTopic()

        async def all_told(_: int) -> list[Announcement]:
            return memory.told

        yield Rig(memory, all_told)
        return
    broker: KafkaBroker = request.getfixturevalue("kafka")
    name = broker.topic(partitions=3)

    async def read(count: int) -> list[Announcement]:
        records = await broker.read(name, count)
        return [_announcement(each.key, each.value, each.headers) for each in records]

    topic = KafkaEventTopic(Connection((broker.brokers,), "test"), name)
    yield Rig(topic, read)
    await topic.close()


def _announcement(key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> Announcement:
    assert key
    assert value
    assert headers == (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
    return Announcement(value.split(b" ")[0].decode(), key.decode(), value)


def announcements(count: int, *, size: int = 0, start: int = 0) -> list[Announcement]:
    """Of seven keys in turn."""
    return [
        Announcement(str(n), f"key-{n % 7}", str(n).encode() + b" " * bool(size) + b"." * size)
        for n in range(start, start + count)
    ]


def by_key(told: list[Announcement]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in told:
        found.setdefault(each.key, []).append(each.id)
    return found


async def test_what_is_taken_is_there_in_the_order_of_each_key(rig: Rig) -> None:
    told = announcements(500)
    assert await rig.topic.publish(told[:400]) is None
    assert await rig.topic.publish(told[400:]) is None
    arrived = await rig.arrived(500)
    assert len(arrived) == 500
    assert by_key(arrived) == by_key(told)


async def test_more_than_fits_into_one_batch_keeps_its_order(rig: Rig) -> None:
    told = announcements(300, size=8_000)
    assert await rig.topic.publish(told) is None
    assert by_key(await rig.arrived(300)) == by_key(told)


async def test_nothing_is_as_good_as_told(rig: Rig) -> None:
    assert await rig.topic.publish([]) is None
    assert await rig.topic.problem() is None


async def test_what_was_let_go_can_be_taken_up_again(rig: Rig) -> None:
    assert await rig.topic.publish(announcements(1)) is None
    await rig.topic.close()
    await rig.topic.close()
    assert await rig.topic.publish(announcements(1, start=1)) is None
    assert len(await rig.arrived(2)) == 2
