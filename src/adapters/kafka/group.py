"""How far a group is behind, asked of the brokers themselves, so that every process can tell."""

import asyncio
from collections.abc import Collection
from time import monotonic

from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]

from adapters.kafka.connection import Connection

_SECONDS = 2.0
_FRESH = 5.0


class BrokersAwayError(Exception):
    """They do not answer, or not in time."""


class KafkaGroup:
    """A look at the group from outside: it is no member. What was found is told again for five seconds."""

    def __init__(self, connection: Connection, group: str, topics: Collection[str]) -> None:
        self._connection = connection
        self._group = group
        self._topics = sorted(topics)
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()
        self._looked = -_FRESH
        self._known: dict[str, int] | None = None

    async def lag(self) -> dict[str, int]:
        """By topic, how many records nobody has read yet. Raises BrokersAwayError."""
        async with self._turn:
            if monotonic() - self._looked >= _FRESH:
                self._known = await self._asked()
                self._looked = monotonic()
        if self._known is None:
            raise BrokersAwayError
        return self._known

    async def close(self) -> None:
        if self._consumer:
            await self._consumer.stop()
            self._consumer = None

    async def _asked(self) -> dict[str, int] | None:
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._look()
        except (KafkaError, OSError, TimeoutError):
            await self.close()
            return None

    async def _look(self) -> dict[str, int]:
        if self._consumer is None:
            self._consumer = AIOKafkaConsumer(
                **self._connection.arguments(), group_id=self._group, enable_auto_commit=False
            )
            await self._consumer.start()
        there = await self._consumer.topics()
        lag = dict.fromkeys(self._topics, 0)
        for topic in there & lag.keys():
            places = [TopicPartition(topic, each) for each in self._consumer.partitions_for_topic(topic) or ()]
            ends, begins = await self._consumer.end_offsets(places), await self._consumer.beginning_offsets(places)
            read = await asyncio.gather(*map(self._consumer.committed, places))
            pairs = zip(places, read, strict=True)
            lag[topic] = sum(max(0, ends[at] - (begins[at] if done is None else done)) for at, done in pairs)
        return lag
