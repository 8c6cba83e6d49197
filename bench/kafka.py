"""What other systems are told over Kafka: records a second, from the log to the broker's acknowledgement."""

import asyncio
import time

from adapters.kafka.connection import Connection
from adapters.kafka.event_topic import KafkaEventTopic
from application.announced import TOPICS
from application.ports.publishing import Announcement
from application.processes.publish import BATCH
from bench.figures import Figure, against
from bench.fill import fill
from bench.stage import Running, Stage
from tests.fakes import kafka
from tests.fakes.kafka import KafkaBroker

EVENTS = 150_000
_PARTITIONS = 6
_RAW = 20_000
_BYTES = 600  # of such a record
_TOLD = ", ".join(f"'{topic}'" for topic in TOPICS)


def published(stage: Stage, events: int = EVENTS) -> list[Figure]:
    """A log that is there already, told by one publisher. Ends the run if one record is missing or there again."""
    with kafka.running() as broker:
        raw = asyncio.run(_adapter_alone(broker))
        topic = broker.topic(_PARTITIONS)
        fill(stage, _events(stage) + BATCH)
        with stage.role("publisher", KAFKA_BROKERS=broker.brokers, KAFKA_EVENTS_TOPIC=topic) as publisher:
            _await_position(stage, _head(stage))
            fill(stage, _events(stage) + events)
            speed, cpu = _measured(stage, publisher)
            memory = publisher.memory
        there, held = _told_after(stage, 0), asyncio.run(broker.held(topic))
    if held != there:
        raise SystemExit(f"{held} records of {there}")
    return [
        Figure("the adapter alone, a batch at a time", raw, "records/s"),
        *against("published, log to broker", speed, "records/s", the_adapter_alone=raw),
        Figure("CPU of publisher", cpu, "us/record"),
        Figure("memory of publisher", memory, "MB"),
    ]


def _measured(stage: Stage, publisher: Running) -> tuple[float, float]:
    """Records a second, and microseconds of processor time for each, from when the first of them were told."""
    head, begun = _head(stage), _position(stage)
    while (start := _position(stage)) == begun:
        time.sleep(0.005)
    since, cpu = time.monotonic(), publisher.cpu
    records = _told_after(stage, start)
    _await_position(stage, head)
    return records / (time.monotonic() - since), (publisher.cpu - cpu) / records * 1e6


async def _adapter_alone(broker: KafkaBroker) -> float:
    topic = KafkaEventTopic(Connection((broker.brokers,), "bench"), broker.topic(_PARTITIONS))
    records = [Announcement(f"{n}", f"{n // 2:036}", b"." * _BYTES) for n in range(_RAW)]
    try:
        for start in range(0, _RAW, BATCH):
            if start == BATCH:  # the first one was to warm up
                began = time.monotonic()
            if untold := await topic.publish(records[start : start + BATCH]):
                raise SystemExit(untold.problem)
    finally:
        await topic.close()
    return (_RAW - BATCH) / (time.monotonic() - began)


def _await_position(stage: Stage, wanted: int) -> None:
    while _position(stage) < wanted:
        time.sleep(0.02)


def _position(stage: Stage) -> int:
    rows = stage.rows("SELECT position FROM process_positions WHERE process = 'publisher'")
    return int(rows[0][0]) if rows else 0


def _head(stage: Stage) -> int:
    return _number(stage, "SELECT max(notification_id) FROM stored_events")


def _events(stage: Stage) -> int:
    return _number(stage, "SELECT count(*) FROM stored_events")


def _told_after(stage: Stage, position: int) -> int:
    return _number(
        stage, f"SELECT count(*) FROM stored_events WHERE notification_id > {position} AND topic IN ({_TOLD})"
    )


def _number(stage: Stage, query: str) -> int:
    ((number,),) = stage.rows(query)
    return int(number or 0)
