"""How many records of Kafka one consumer takes in, beside what one API process takes by HTTP in the same run."""

import time
from uuid import uuid4

import msgspec
from confluent_kafka import Producer

from bench.figures import Figure, against
from bench.stage import Running, Stage
from tests.fakes import kafka

RECORDS, REQUESTS = 20_000, 10_000
_PARTITIONS = 4
_WARM = 0.1
"""Of the records, which are taken in before it counts."""

_MAPPINGS = """
[topics.{topic}]
[mappings.welcome]
topic = "{topic}"
event = "user.created"
[mappings.welcome.notification]
type = "welcome"
recipient = {{ email = "data.email", name = "data.user_name", locale = "data.locale" }}
variables = {{ user_name = "data.user_name", product_name = "data.product_name", action_url = "data.action_url" }}
"""


def taken_in(stage: Stage, records: int = RECORDS, requests: int = REQUESTS) -> list[Figure]:
    """The records wait in the topic, each event once; both ways store a welcome and the key it was accepted under."""
    with stage.answering("-m", "entrypoints", "api") as api:
        stage.load(api.address, requests=requests // 10, idempotent=True)
        asked = stage.load(api.address, requests=requests, idempotent=True)
    stage.forget_the_work()
    with kafka.running() as broker:
        topic = broker.topic(_PARTITIONS)
        file = stage.folder / "mappings.toml"
        file.write_text(_MAPPINGS.format(topic=topic))
        _fill(broker.brokers, topic, records)
        begin = _head(stage)
        environment = {
            "KAFKA_BROKERS": broker.brokers,
            "KAFKA_GROUP_ID": f"bench-{uuid4().hex}",
            "MAPPINGS_PATH": str(file),
        }
        with stage.role("consumer", **environment) as consumer:
            rate, cpu, memory = _measured(stage, consumer, begin, records)
    return [
        Figure("accept with Idempotency-Key, by HTTP", asked.per_second, "requests/s"),
        *against("records in, one consumer", rate, "records/s", the_accept_by_HTTP=asked.per_second),
        Figure("CPU of the consumer", cpu, "us each"),
        Figure("memory of the consumer", memory, "MB"),
    ]


def _fill(brokers: str, topic: str, records: int) -> None:
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for n in range(records):
        data = {
            "email": "jane@example.com",
            "user_name": "Jane",
            "locale": "en",
            "product_name": "Acme",
            "action_url": "https://acme.example.com/start",
        }
        event = {"id": uuid4().hex, "type": "user.created", "tenant_id": "bench", "data": data}
        producer.produce(topic, msgspec.json.encode(event), partition=n % _PARTITIONS)
    if producer.flush(60):
        raise SystemExit("the broker does not take the records")


def _measured(stage: Stage, consumer: Running, begin: int, records: int) -> tuple[float, float, float]:
    """Records a second, microseconds of computing time for each, and megabytes. Two events are stored of each."""
    first = _await(stage, begin + 2 * int(_WARM * records))
    since, cpu = time.monotonic(), consumer.cpu
    last = _await(stage, begin + 2 * records)
    seconds, spent, taken = time.monotonic() - since, consumer.cpu - cpu, (last - first) / 2
    if last != begin + 2 * records:
        raise SystemExit(f"{records} records came to {last - begin} events")
    return taken / seconds, spent / taken * 1e6, consumer.memory


def _await(stage: Stage, position: int) -> int:
    deadline = time.monotonic() + 300
    while (head := _head(stage)) < position:
        if time.monotonic() > deadline:
            raise SystemExit(f"position {position} was not reached, but {head}")
        time.sleep(0.05)
    return head


def _head(stage: Stage) -> int:
    ((head,),) = stage.rows("SELECT coalesce(max(notification_id), 0) FROM stored_events")
    return int(head)
