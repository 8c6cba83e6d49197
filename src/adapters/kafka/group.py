"""How far a group is behind, asked of the brokers themselves, so that every process can tell."""

import asyncio
from collections.abc import Collection
from time import monotonic

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from adapters.kafka.connection import BrokersAwayError, Connection

_SECONDS = 2.0
_FRESH = 5.0


_REFUSALS = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)
_OF_A_TOPIC = {
    UnknownTopicOrPartitionError.errno: "is not there",
    TopicAuthorizationFailedError.errno: "refuses us",
}


class KafkaGroup:
    """A look at the group from outside: it is no member. What was found is told again for five seconds."""

    def __init__(self, connection: Connection, group: str, topics: Collection[str]) -> None:
        self._connection = connection
        self._group = group
        self._topics = sorted(topics)
        self._clients: tuple[AIOKafkaAdminClient, AIOKafkaConsumer] | None = None
        self._turn = asyncio.Lock()
        self._looked = -_FRESH
        self._known: dict[str, int] | str = ""
        self.troubles: dict[str, str] = {}
        """What was in the way at the last look, by topic."""

    async def lag(self) -> dict[str, int]:
        """By topic, how many records nobody has read yet. Raises BrokersAwayError."""
        async with self._turn:
            if monotonic() - self._looked >= _FRESH:
                self._known = await self._asked()
                self._looked = monotonic()
        if isinstance(self._known, str):
            raise BrokersAwayError(self._known)
        return self._known

    async def close(self) -> None:
        if self._clients:
            admin, consumer = self._clients
            self._clients = None
            await asyncio.gather(admin.close(), consumer.stop())

    async def _asked(self) -> dict[str, int] | str:
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._look()
        except _REFUSALS:
            await self.close()
            return "refuses us"
        except (KafkaError, OSError, TimeoutError):
            await self.close()
            return "does not answer"

    async def _look(self) -> dict[str, int]:
        admin, consumer = await self._connected()
        places = await self._places(admin)
        read = await admin.list_consumer_group_offsets(self._group, partitions=places) if places else {}
        ends, begins = await asyncio.gather(consumer.end_offsets(places), consumer.beginning_offsets(places))
        lag = dict.fromkeys(self._topics, 0)
        for place in places:
            done = read[place].offset if place in read else -1
            lag[place.topic] += max(0, ends[place] - max(done, begins[place]))
        return lag

    async def _connected(self) -> tuple[AIOKafkaAdminClient, AIOKafkaConsumer]:
        if self._clients is None:
            arguments = self._connection.arguments()
            self._clients = AIOKafkaAdminClient(**arguments), AIOKafkaConsumer(**arguments)
            for client in self._clients:
                await client.start()
        return self._clients

    async def _places(self, admin: AIOKafkaAdminClient) -> list[TopicPartition]:
        """Every partition of those topics that are there."""
        described = await admin.describe_topics(self._topics)
        codes = {of["topic"]: of["error_code"] for of in described}
        self.troubles = {topic: _OF_A_TOPIC[code] for topic, code in codes.items() if code in _OF_A_TOPIC}
        return [TopicPartition(of["topic"], each["partition"]) for of in described for each in of["partitions"]]
