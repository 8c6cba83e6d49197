"""Records of other services, while those who take them in come and go."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import msgspec

from adapters.kafka.connection import Connection
from adapters.kafka.group import KafkaGroup
from tests.fakes import kafka
from tests.fakes.kafka import KafkaBroker, Record
from tests.faults.history import Acknowledged
from tests.faults.trial import Trial
from tests.faults.waiting import until

_PARTITIONS = 8
_SESSION_SECONDS = 6  # the least that Kafka grants if not told otherwise
_TAKEN_WITHIN = 180.0


async def records_taken(trial: Trial, *, records: int, kills: int) -> None:
    """Every record comes twice, in any order, while consumers join, leave and are killed; each is taken in once."""
    with kafka.running() as broker:
        await _Taking(trial, broker).play(records, kills)


class _Taking:
    def __init__(self, trial: Trial, broker: KafkaBroker) -> None:
        self.trial = trial
        self.broker = broker
        self.topic = broker.topic(_PARTITIONS)
        self.group = f"group-{uuid4().hex}"
        file = trial.cluster.folder / f"{self.group}.toml"
        _write_mappings(file, self.topic)
        self.environment = {
            "KAFKA_BROKERS": broker.brokers,
            "KAFKA_GROUP_ID": self.group,
            "KAFKA_SESSION_TIMEOUT_MS": str(_SESSION_SECONDS * 1000),
            "MAPPINGS_PATH": str(file),
        }

    async def play(self, records: int, kills: int) -> None:
        trial, cluster = self.trial, self.trial.cluster
        events = [_event(f"{self.group[6:14]}-{n}", n) for n in range(records)]
        twice = [each for each in events for _ in range(2)]
        trial.luck.shuffle(twice)
        for _ in range(2):
            self._join()
        telling = asyncio.create_task(self._tell(twice))
        for fault in trial.faults(kills, "kills"):
            await self._taken_at_least(records * fault // (kills + 2))
            await self._come_and_go()
        await telling
        since = time.monotonic()
        await self._all_is_read()
        trial.recovered(time.monotonic() - since, within=_TAKEN_WITHIN)
        found = await self._taken()
        trial.note(records=len(twice), notifications=len(found), counted=await self._counted())
        trial.expect(len(found) == records, f"{records} records that came twice are {records} notifications")
        known = {_id_of(each): each for each in events}
        trial.expect({key for key, _ in found} == known.keys(), "no event is missing, and none is taken in twice")
        trial.acknowledge([_acknowledged(known[key], id) for key, id in found])
        await trial.live_again(time.monotonic())
        await trial.settled()
        for role in cluster.all_of("consumer"):
            role.kill()

    async def _come_and_go(self) -> None:
        """One is killed, one joins, one leaves, one joins: in the midst of it all."""
        consumers = self.trial.cluster.all_of("consumer")
        self.trial.luck.choice(consumers).kill()
        self._join()
        await self.trial.some_time()
        leaver = self.trial.luck.choice(self.trial.cluster.all_of("consumer"))
        leaver.ask_to_stop()
        await leaver.stopped()
        self._join()
        self.trial.note(joined=2, left=1)

    def _join(self) -> None:
        self.trial.cluster.start("consumer", self.trial.provider, changes=self.environment)

    async def _tell(self, events: Sequence[dict[str, object]]) -> None:
        """In many small lots, so that consumers come and go between them."""
        lots = max(10, len(events) // 100)
        for n in range(lots):
            raw = [(_id_of(each), msgspec.json.encode(each)) for each in events[n::lots]]
            await self.broker.produce(self.topic, *(Record(value, key=key.encode()) for key, value in raw))

    async def _taken(self) -> list[tuple[str, str]]:
        """The key and the id of every notification that was made of a record."""
        rows = await self.trial.cluster.query(
            "SELECT e->>'correlation_id', originator_id::text"
            " FROM stored_events, LATERAL (SELECT convert_from(state, 'UTF8')::jsonb) AS s (e)"
            " WHERE notification_id > %s AND topic = 'notification.queued' AND e->>'by' LIKE 'kafka:%%'",
            (self.trial.began,),
        )
        return [(key, id) for key, id in rows]

    async def _taken_at_least(self, count: int) -> None:
        async def asked() -> bool:
            self.trial.cluster.check_that_all_live()
            return len(await self._taken()) >= count

        await until(asked, f"{count} records are taken in", within=_TAKEN_WITHIN, pause=0.2)

    async def _all_is_read(self) -> None:
        """No partition is stuck: the group has read to the end of each."""
        group = KafkaGroup(Connection((self.broker.brokers,), "test"), self.group, [self.topic])
        try:
            await until(lambda: _nothing_left(group), "the lag is 0", within=_TAKEN_WITHIN, pause=1.0)
        finally:
            await group.close()

    async def _counted(self) -> int:
        """By the service itself; a record that comes again after a crash is counted again."""
        rows = await self.trial.cluster.query("SELECT sum(count) FROM record_counts WHERE topic = %s", (self.topic,))
        return int(rows[0][0] or 0)


async def _nothing_left(group: KafkaGroup) -> bool:
    return not any((await group.lag()).values())


def _event(key: str, number: int) -> dict[str, object]:
    tenant = ("acme", "globex")[number % 2]
    data = {
        "email": f"{tenant}.{key}@example.com",
        "user_name": key,
        "product_name": tenant,
        "action_url": f"https://{tenant}.example.com/start",
    }
    return {"id": key, "type": "user.created", "tenant_id": tenant, "data": data}


def _id_of(event: dict[str, object]) -> str:
    return str(event["id"])


def _acknowledged(event: dict[str, object], id: str) -> Acknowledged:
    data = event["data"]
    assert isinstance(data, dict)
    return Acknowledged(id, _id_of(event), str(event["tenant_id"]), data["email"], time.time())


def _write_mappings(file: Path, topic: str) -> None:
    names = ("user_name", "product_name", "action_url")
    file.write_text(
        f"""
[topics.{topic}]
[mappings.welcome]
topic = "{topic}"
event = "user.created"
[mappings.welcome.notification]
type = "welcome"
recipient = {{ email = "data.email" }}
variables = {{ {", ".join(f'{name} = "data.{name}"' for name in names)} }}
"""
    )
