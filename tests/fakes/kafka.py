"""A Kafka broker for tests: the one of KAFKA_BROKERS, else the one that librdkafka brings for its own tests.

The latter speaks the real protocol on a port of its own, keeps everything in memory, and runs in a process of its own,
so that it can be killed and frozen; it can also be taken from the network and brought back, which no test may do to a
broker it was given.

In a test:      topic = kafka.topic(); ... await kafka.produce(topic, Record(b"1")); await kafka.read(topic, 1)
On its own:     python -m tests.fakes.kafka       (takes "down", "up" and others on standard input, and ends with it)
"""

import asyncio
import ctypes
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka.admin import AdminClient, NewTopic

_ROOT = Path(__file__).parents[2]
_PRODUCER = 0
_BROKER = 1
_WITHIN = 20.0  # seconds
_IN_THE_WHEEL = ("confluent_kafka.libs/librdkafka*", "confluent_kafka/.dylibs/librdkafka*")  # Linux, macOS

PRODUCE = 0
"""The number of the request in Kafka's protocol, for `fail`."""


class Record(msgspec.Struct, frozen=True):
    """What a topic holds, or is given."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
    offset: int | None = None


class KafkaBroker:
    """`brokers` is what KAFKA_BROKERS says of it."""

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers

    def topic(self, partitions: int = 4) -> str:
        """A new one, that no other test knows."""
        name = f"test-{uuid4().hex}"
        self._create(name, partitions)
        return name

    def _create(self, name: str, partitions: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.brokers})
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(_WITHIN)

    async def produce(self, topic: str, *records: Record) -> None:
        """All are there when this returns; those of one key in this order."""
        producer = AIOKafkaProducer(bootstrap_servers=self.brokers, acks="all")
        try:
            await producer.start()
            sent = [
                await producer.send(
                    topic, each.value, key=each.key, partition=each.partition, headers=list(each.headers)
                )
                for each in records
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    async def read(self, topic: str, count: int, within: float = 30.0) -> list[Record]:
        """All that the topic holds, as soon as that are `count`; each partition in its order."""
        records: list[Record] = []
        try:
            async with asyncio.timeout(within), self._whole(topic) as consumer:
                while len(records) < count or not await _at_the_end(consumer):
                    records += _records(await consumer.getmany(timeout_ms=200))
        except TimeoutError:
            raise AssertionError(f"{len(records)} records within {within:g} s, where {count} were to come") from None
        return records

    async def held(self, topic: str) -> int:
        """How many records the topic holds."""
        async with self._whole(topic) as consumer:
            return sum((await consumer.end_offsets(consumer.assignment())).values())

    @asynccontextmanager
    async def _whole(self, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
        """Reads all partitions from their beginning, in no group."""
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.brokers, auto_offset_reset="earliest")
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()


async def _at_the_end(consumer: AIOKafkaConsumer) -> bool:
    ends = await consumer.end_offsets(consumer.assignment())
    return all([await consumer.position(partition) >= end for partition, end in ends.items()])


def _records(polled: dict[Any, Sequence[Any]]) -> Iterator[Record]:
    for each in (record for several in polled.values() for record in several):
        yield Record(each.value, each.key, tuple(each.headers), each.partition, each.offset)


class OwnKafkaBroker(KafkaBroker):
    """librdkafka's, in a process of its own that a test may do with as it likes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.kafka"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=_ROOT,
            start_new_session=True,
        )
        assert self._process.stdout
        super().__init__(self._process.stdout.readline().strip())
        assert self.brokers, "librdkafka's broker did not start"

    def go_down(self) -> None:
        """As when it is cut from the network: connections break, and new ones are refused."""
        self._tell("down")

    def come_up(self) -> None:
        self._tell("up")

    def fail(self, request: int, *codes: int) -> None:
        """Answer the next requests of this kind with these error codes of Kafka's, one each."""
        self._tell("fail", request, *codes)

    def spoil(self, topic: str, code: int) -> None:
        """Whoever asks for this topic is answered with this error code of Kafka's, until that is 0."""
        self._tell("spoil", topic, code)

    def freeze(self) -> None:
        """Connections stay, and nothing is answered any more."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # its threads may go on for a moment

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """For good: what it held is gone."""
        self._process.kill()
        self._process.communicate()

    def _create(self, name: str, partitions: int) -> None:
        self._tell("topic", name, partitions)

    def _tell(self, *words: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        print(*words, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().strip()
        assert answer == "0", f"librdkafka's broker answers {answer or 'nothing'} to {words}"


@contextmanager
def running() -> Iterator[KafkaBroker]:
    """The broker of KAFKA_BROKERS, else one of our own."""
    if brokers := os.environ.get("KAFKA_BROKERS"):
        yield KafkaBroker(brokers)
        return
    with running_own() as broker:
        yield broker


@contextmanager
def running_own() -> Iterator[OwnKafkaBroker]:
    broker = OwnKafkaBroker()
    try:
        yield broker
    finally:
        broker.kill()


class _MockCluster:
    """librdkafka's `rd_kafka_mock_*`, of which its Python package shows nothing but that it is there."""

    def __init__(self) -> None:
        self._library = library = ctypes.CDLL(str(_library_file()))
        library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = ctypes.c_void_p
        library.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        library.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
        why = ctypes.create_string_buffer(512)
        client = library.rd_kafka_new(_PRODUCER, library.rd_kafka_conf_new(), why, len(why))
        assert client, why.value.decode()
        self._cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, 1))
        assert self._cluster

    @property
    def brokers(self) -> str:
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return address.decode()

    def do(self, command: str, *words: str) -> int:
        """The answer is an error code of librdkafka's; 0 is none."""
        match command:
            case "topic":
                create = self._library.rd_kafka_mock_topic_create
                answer = create(self._cluster, words[0].encode(), int(words[1]), _BROKER)
            case "down":
                answer = self._library.rd_kafka_mock_broker_set_down(self._cluster, _BROKER)
            case "up":
                answer = self._library.rd_kafka_mock_broker_set_up(self._cluster, _BROKER)
            case "fail":
                request, *codes = map(int, words)
                many = (ctypes.c_int * len(codes))(*codes)
                push = self._library.rd_kafka_mock_push_request_errors_array
                push(self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(codes)), many)
                answer = 0
            case "spoil":
                self._library.rd_kafka_mock_topic_set_error(self._cluster, words[0].encode(), int(words[1]))
                answer = 0
            case _:
                raise ValueError(command)
        return int(answer)


def _library_file() -> Path:
    spec = importlib.util.find_spec("confluent_kafka")
    assert spec
    assert spec.origin
    site = Path(spec.origin).parents[1]
    return next(file for place in _IN_THE_WHEEL for file in site.glob(place))


def main() -> None:
    cluster = _MockCluster()
    print(cluster.brokers, flush=True)  # noqa: T201 - where it is
    for line in sys.stdin:
        print(cluster.do(*line.split()), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
