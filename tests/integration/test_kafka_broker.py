"""What the other tests expect of the broker that they talk to."""

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from tests.fakes.kafka import PRODUCE, KafkaBroker, OwnKafkaBroker, Record

_TOO_LARGE = 10


async def test_what_is_produced_is_read_in_the_order_of_each_partition(kafka: KafkaBroker) -> None:
    topic, headers = kafka.topic(partitions=2), (("content-type", b"text/plain"),)
    records = [Record(str(n).encode(), b"key", headers, partition=n % 2) for n in range(10)]
    await kafka.produce(topic, *records)
    read = await kafka.read(topic, 10)
    for partition in (0, 1):
        mine = [each for each in read if each.partition == partition]
        assert [each.value for each in mine] == [each.value for each in records if each.partition == partition]
        assert [each.offset for each in mine] == [0, 1, 2, 3, 4]
    assert {(each.key, each.headers) for each in read} == {(b"key", headers)}
    assert await kafka.held(topic) == 10


async def test_whatever_a_topic_holds_beyond_what_was_waited_for_is_read_too(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    await kafka.produce(topic, *(Record(b"." * 10_000, str(n).encode()) for n in range(500)))
    assert len(await kafka.read(topic, 1)) == 500


async def test_no_test_sees_the_records_of_another(kafka: KafkaBroker) -> None:
    await kafka.produce(kafka.topic(), Record(b"other"))
    assert await kafka.held(kafka.topic()) == 0


async def test_a_broker_that_was_cut_off_comes_back_with_all_it_held(own_kafka: OwnKafkaBroker) -> None:
    topic = own_kafka.topic()
    await own_kafka.produce(topic, Record(b"before"))
    own_kafka.go_down()
    with pytest.raises(KafkaConnectionError):
        await own_kafka.produce(topic, Record(b"lost"))
    own_kafka.come_up()
    assert [each.value for each in await own_kafka.read(topic, 1)] == [b"before"]


async def test_a_broker_refuses_what_it_is_told_to(own_kafka: OwnKafkaBroker) -> None:
    topic = own_kafka.topic()
    own_kafka.fail(PRODUCE, _TOO_LARGE)
    with pytest.raises(MessageSizeTooLargeError):
        await own_kafka.produce(topic, Record(b"refused"))
    await own_kafka.produce(topic, Record(b"taken"))
    assert await own_kafka.held(topic) == 1
