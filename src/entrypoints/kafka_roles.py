"""The roles that talk to Kafka. Its client takes 15 MB, so only a process that has brokers loads this."""

from contextlib import suppress

import structlog
from aiokafka.errors import KafkaError

from adapters.kafka.consumer import inflow
from adapters.kafka.event_topic import KafkaEventTopic
from adapters.kafka.words import in_words
from adapters.postgres.leadership import leading
from application.ports.log import StoreUnavailableError
from application.ports.publishing import Troubles
from application.processes.consume import consume
from entrypoints.logs import Lines
from entrypoints.parts import Parts
from entrypoints.roles import supervised
from entrypoints.settings import check_kafka


async def take_in(parts: Parts) -> None:
    """Read what other services tell by Kafka, until cancelled. Several processes share the partitions."""
    kafka, inbound, lines = check_kafka(parts.settings), parts.inbound, Lines("consumer")
    trouble = Trouble(parts.troubles, "consumer")

    async def member() -> None:
        async with inflow(kafka.connection, kafka.group_id, inbound.house.topics, kafka.session, lines) as flow:
            await consume(flow, inbound.intake.take, inbound.counts, lines, trouble.over)

    async def told() -> None:
        try:
            await member()
        except (KafkaError, OSError) as error:
            await trouble.tell(in_words(error))
            raise

    await supervised("consumer", told)


async def publish(parts: Parts) -> None:
    """Tell other systems what happens to notifications, until cancelled. One process at a time does it."""
    kafka, bell = check_kafka(parts.settings), parts.wakeups.bell()

    async def lead() -> None:
        async with leading(parts.conninfo, "publisher"):
            topic = KafkaEventTopic(kafka.connection, kafka.events_topic)
            try:
                await parts.publisher(topic).run(bell)
            finally:
                await topic.close()

    await supervised("publisher", lead)


class Trouble:
    """What keeps this process from one part of its work. Each process takes back what it has told, and no other's."""

    def __init__(self, troubles: Troubles, part: str) -> None:
        self._troubles = troubles
        self._part = part
        self._told = False

    async def tell(self, problem: str) -> None:
        """Nothing where the store is away, which is told by others."""
        structlog.get_logger(self._part).error("cannot read", problem=problem)
        with suppress(StoreUnavailableError):
            await self._troubles.tell(self._part, problem)
            self._told = True

    async def over(self) -> None:
        if self._told:
            with suppress(StoreUnavailableError):
                await self._troubles.over(self._part)
                self._told = False
