"""The topic that other systems read what happened from."""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import DefaultPartitioner

from adapters.kafka.connection import Connection
from adapters.stopping import stopped
from application.ports.publishing import Announcement, Untold

_HEADERS = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
_START_SECONDS = 25.0
_PATIENCE = 15.0
"""Seconds that brokers get for what they are handed; longer than one request may take."""

_MOST_BYTES = 512 * 1024
"""Of a batch: half of what a topic takes if nobody tells it otherwise."""

_GOOD_ENOUGH = 50
"""So often all was taken before larger batches are tried again."""


class _Batch(msgspec.Struct):
    """What goes to one partition in one go: all of it arrives, or nothing."""

    builder: Any
    ids: list[str]


class KafkaEventTopic:
    """Acknowledged by all replicas that are in sync; what is sent again after a broken connection is stored once.

    A partition gets its next batch when the one before is acknowledged. That alone keeps the order: behind the first
    batch of a producer that was refused, brokers take the second one, for all its sequence number.
    """

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None
        self._partition = DefaultPartitioner()
        self._most_bytes = _MOST_BYTES
        self._good = 0

    async def publish(self, announcements: Sequence[Announcement]) -> Untold | None:
        told: set[str] = set()
        try:
            problem = await self._put(announcements, told)
        except BaseException:
            await self.close()
            raise
        if problem is None:
            await self._grow()
            return None
        self._good = 0
        await self.close()
        return Untold(frozenset(each.id for each in announcements if each.id not in told), problem)

    async def problem(self) -> str | None:
        try:
            producer = await self._started()
            async with asyncio.timeout(_PATIENCE):
                await producer.partitions_for(self._topic)
                answers = await producer.client.force_metadata_update()
        except (KafkaError, TimeoutError) as error:
            await self.close()
            return self._words(error)
        return None if answers else self._words(KafkaConnectionError())

    async def close(self) -> None:
        """Not by `stop`, which waits until the brokers have taken all that it holds, however long they are away."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if sending := producer._sender.sender_task:
            sending.cancel()
            await asyncio.sleep(0)  # the first one makes it wait for what is on its way, the second one stops that too
            await stopped(sending)
        producer._closed = True
        await producer.client.close()

    async def _grow(self) -> None:
        """Batches that were made smaller are larger again after a while; a producer keeps the size it began with."""
        self._good += 1
        if self._most_bytes < _MOST_BYTES and self._good >= _GOOD_ENOUGH:
            self._good = 0
            self._most_bytes = min(_MOST_BYTES, 8 * self._most_bytes)
            await self.close()

    async def _put(self, announcements: Sequence[Announcement], told: set[str]) -> str | None:
        """Adds to `told` what arrived; answers what was in the way of the rest."""
        try:
            producer = await self._started()
            async with asyncio.timeout(_PATIENCE):
                waiting = await self._by_partition(producer, announcements)
                while waiting:
                    await self._put_batches(producer, waiting, told)
        except (KafkaError, TimeoutError) as error:
            return self._words(error)
        return None

    async def _put_batches(
        self, producer: AIOKafkaProducer, waiting: dict[int, deque[Announcement]], told: set[str]
    ) -> None:
        """One for each partition; raises what became of the first that was refused, when all have ended."""
        batches = {partition: _filled(producer, queue) for partition, queue in waiting.items()}
        ends: list[asyncio.Future[Any]] = []
        for partition, batch in batches.items():
            ends.append(await producer.send_batch(batch.builder, self._topic, partition=partition))
            ends[-1].add_done_callback(partial(_took, ids=batch.ids, told=told))  # the next one may raise
        await asyncio.wait(ends)
        if any(_is_too_large(end) and len(batch.ids) > 1 for end, batch in zip(ends, batches.values(), strict=True)):
            self._most_bytes = max(1, self._most_bytes // 8)
        for end in ends:
            end.result()
        for partition in [partition for partition, queue in waiting.items() if not queue]:
            del waiting[partition]

    async def _by_partition(
        self, producer: AIOKafkaProducer, announcements: Sequence[Announcement]
    ) -> dict[int, deque[Announcement]]:
        partitions = sorted(await producer.partitions_for(self._topic))
        waiting: dict[int, deque[Announcement]] = {}
        for each in announcements:
            waiting.setdefault(self._partition(each.key.encode(), partitions, partitions), deque()).append(each)
        return waiting

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                **self._connection.arguments(),
                acks="all",
                enable_idempotence=True,
                max_batch_size=self._most_bytes,
                max_request_size=2 * _MOST_BYTES,
            )
            async with asyncio.timeout(_START_SECONDS):
                await self._producer.start()
        return self._producer

    def _words(self, error: Exception) -> str:
        match error:
            case UnknownTopicOrPartitionError():
                return f"there is no topic {self._topic}"
            case TopicAuthorizationFailedError() | ClusterAuthorizationFailedError():
                return f"the brokers do not let us write to the topic {self._topic}"
            case MessageSizeTooLargeError():
                return f"the topic {self._topic} takes no records of this size"
            case KafkaConnectionError():
                return "no broker can be reached, or none lets us in"
            case TimeoutError():
                return "the brokers do not answer"
        return f"the brokers refuse it: {type(error).__name__}"


def _filled(producer: AIOKafkaProducer, queue: deque[Announcement]) -> _Batch:
    """With the first of the queue, and as many more as fit."""
    batch = _Batch(producer.create_batch(), [])
    while queue and _put(batch.builder, queue[0]):
        batch.ids.append(queue.popleft().id)
    return batch


def _put(builder: Any, announcement: Announcement) -> bool:
    key = announcement.key.encode()
    return builder.append(timestamp=None, key=key, value=announcement.body, headers=_HEADERS) is not None


def _is_too_large(end: "asyncio.Future[Any]") -> bool:
    return isinstance(end.exception(), MessageSizeTooLargeError)


def _took(end: "asyncio.Future[Any]", ids: Sequence[str], told: set[str]) -> None:
    """Looks at how it ended in any case, so that nobody complains that no one did."""
    if not end.cancelled() and end.exception() is None:
        told.update(ids)
