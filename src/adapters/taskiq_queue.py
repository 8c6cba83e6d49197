"""Telling workers what to look at, through Taskiq over a Redis stream.

Whatever Redis loses costs time, never a message: the leases in the database lapse and are taken again. So nothing is
acknowledged, and nothing is ever claimed from a worker that died.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from taskiq import AsyncBroker
from taskiq.acks import AcknowledgeType
from taskiq.api import run_receiver_task
from taskiq.kicker import AsyncKicker
from taskiq.result_backends.dummy import DummyResultBackend
from taskiq_redis import RedisStreamBroker

from adapters.stopping import finished, stopped
from application.ports.due_work import Deliver, Lease
from domain.vocabulary import Channel

Brokers = Mapping[Channel, AsyncBroker]

_CHANNELS = (Channel.EMAIL, Channel.WEBHOOK)
_TASK = "deliver"
_STREAM = "carillon:deliver"
_STREAM_LENGTH = 10_000
_LONGEST_BACKOFF = 2.0

logging.getLogger("taskiq").setLevel(logging.ERROR)


def redis_brokers(url: str) -> Brokers:
    """Each channel has a stream of its own, so that the slow calls of one keep no task of another waiting."""
    return {channel: _redis_broker(url, channel) for channel in _CHANNELS}


def _redis_broker(url: str, channel: Channel) -> AsyncBroker:
    return _PatientStreamBroker(
        url,
        queue_name=_STREAM if channel is Channel.EMAIL else f"{_STREAM}:{channel}",
        consumer_group_name="carillon",
        consumer_id="0",
        maxlen=_STREAM_LENGTH,
        xread_block=1_000,
        xread_count=4,
    ).with_result_backend(DummyResultBackend())


class TaskiqDeliveryQueue:
    """Implements the port DeliveryQueue. A queue that does not answer is only waited for a second."""

    def __init__(self, brokers: Brokers, on_loss: Callable[[Exception], None] = lambda _: None) -> None:
        self._brokers = brokers
        self._on_loss = on_loss

    async def put(self, channel: Channel, leases: Sequence[Lease]) -> bool:
        ids = [[str(lease.notification), str(lease.token)] for lease in leases]
        try:
            async with asyncio.timeout(1):
                await AsyncKicker(_TASK, self._brokers[channel], {}).kiq(channel.value, ids)  # type: ignore[call-overload]
        except Exception as error:  # noqa: BLE001 - a hint that is lost costs time, nothing else
            self._on_loss(error)
            return False
        return True


class TaskiqWorker:
    """Receives tasks and hands each to `deliver`; on closing, waits for those that have begun."""

    def __init__(self, broker: AsyncBroker, deliver: Deliver, *, at_once: int) -> None:
        self._broker = broker
        self._deliver = deliver
        self._at_once = at_once
        self._running: set[asyncio.Task[None]] = set()
        self._receiver: asyncio.Task[None] | None = None

        async def deliver_these(channel: str, ids: list[list[str]]) -> None:
            await self._work(channel, ids)

        broker.register_task(deliver_these, task_name=_TASK)

    async def start(self) -> None:
        self._receiver = asyncio.create_task(
            run_receiver_task(
                self._broker,
                validate_params=False,
                max_async_tasks=self._at_once,
                ack_time=AcknowledgeType.WHEN_RECEIVED,
            ),
            name="receiver",
        )

    async def close(self, patience: float) -> None:
        """Take no more, and give what has begun `patience` seconds to end."""
        if self._receiver:
            await stopped(self._receiver)
        await finished(self._running, patience)

    async def _work(self, channel: str, ids: list[list[str]]) -> None:
        task = asyncio.current_task()
        assert task
        self._running.add(task)
        try:
            of = Channel(channel)
            await self._deliver(of, [Lease(UUID(id), UUID(token), of) for id, token in ids])
        finally:
            self._running.discard(task)


class _PatientStreamBroker(RedisStreamBroker):
    """A stream broker that makes its group again when Redis has lost it, and backs off while Redis is away."""

    async def startup(self) -> None:
        with suppress(RedisError, OSError):
            await super().startup()

    async def listen(self) -> AsyncGenerator[bytes, None]:  # type: ignore[override]
        """Nothing is acknowledged nor claimed, so that what is read is forgotten in the same round trip."""
        backoff = 0.05
        while True:
            try:
                async with Redis(connection_pool=self.connection_pool) as redis:
                    async for message in self._messages(redis):
                        backoff = 0.05
                        yield message
            except ResponseError:
                await self._try_to_declare()
            except (RedisError, OSError):
                await self._try_to_declare()
                backoff = min(2 * backoff, _LONGEST_BACKOFF)
            await asyncio.sleep(backoff)

    async def _messages(self, redis: Redis) -> AsyncGenerator[bytes, None]:
        while True:
            read: Any = await redis.xreadgroup(
                self.consumer_group_name,
                self.consumer_name,
                {self.queue_name: ">"},
                block=self.block,
                noack=True,
                count=self.count,
            )
            for _, messages in read or ():
                for _, fields in messages:
                    yield fields[b"data"]

    async def _try_to_declare(self) -> None:
        with suppress(RedisError, OSError):
            await self._declare_consumer_group()
