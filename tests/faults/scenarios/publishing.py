"""What other systems hear over Kafka while those who tell them are killed."""

import json
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from application.announced import TOPICS
from tests.fakes import kafka
from tests.fakes.kafka import KafkaBroker, OwnKafkaBroker, Record
from tests.faults.cluster import Role
from tests.faults.trial import Trial
from tests.faults.waiting import until

_TAKEN_OVER_WITHIN = 10.0  # seconds
_PARTITIONS = 24  # of each the broker of the tests keeps the last five megabytes


async def publishers_killed(trial: Trial, *, kills: int) -> None:
    """Kill the publisher under load, again and again; another one that waits for it takes over.

    Each event of the log is told at least once, and what is told of a notification for the first time is in order.
    """
    cluster, takeovers = trial.cluster, [0.0]
    with kafka.running() as broker:
        topic = broker.topic(_PARTITIONS)
        settings = {"KAFKA_BROKERS": broker.brokers, "KAFKA_EVENTS_TOPIC": topic}
        async with trial.traffic():
            cluster.start("publisher", changes=settings)
            await until(lambda: _moved(trial, -1), "somebody publishes")
            cluster.start("publisher", changes=settings)
            await cluster.ready()
            for _ in trial.faults(kills, "kills"):
                await trial.some_time()
                leading, *_ = cluster.all_of("publisher")
                before = await _killed_with_something_on_its_way(trial, leading, broker)
                since = time.monotonic()
                await until(lambda before=before: _moved(trial, before), "another one publishes")
                takeovers.append(time.monotonic() - since)
                cluster.start("publisher", changes=settings)
                await cluster.ready()
            await trial.live_again(time.monotonic())
        await trial.settled()
        await _judge(trial, broker, topic)
        for role in cluster.all_of("publisher"):
            role.kill()
    trial.note(longest_takeover_s=round(max(takeovers), 1))
    in_time = not trial.speed_counts or max(takeovers) <= _TAKEN_OVER_WITHIN
    trial.expect(in_time, f"another one takes over within {_TAKEN_OVER_WITHIN:g} s")


async def _killed_with_something_on_its_way(trial: Trial, publisher: Role, broker: KafkaBroker) -> int:
    """Where the broker is ours: it takes what it was sent once nobody is there to hear of it. Answers the position."""
    ours = isinstance(broker, OwnKafkaBroker)
    if ours:
        broker.freeze()
        await trial.some_time()
    before = await _position(trial)
    publisher.kill()
    if ours:
        broker.thaw()
    return before


async def _judge(trial: Trial, broker: KafkaBroker, topic: str) -> None:
    """By the log, and by what the topic holds."""
    head = await trial.cluster.head()
    await until(lambda: _moved(trial, head - 1), "all is told")
    expected = await _to_be_told(trial)
    records = await broker.read(topic, len(expected), within=60)
    told = [json.loads(each.value or b"") for each in records]
    ids = {each["id"] for each in told}
    trial.note(told=len(ids), told_again=len(told) - len(ids))
    trial.expect(expected, "there is something to tell")
    trial.expect(not expected - ids, f"each event is told, and {len(expected - ids)} were not")
    trial.expect(not ids - expected, f"nothing else is told, and {len(ids - expected)} were")
    trial.expect(not _out_of_order(told), f"of {len(_out_of_order(told))} notifications it is told in order")
    trial.expect(not _scattered(records), "what is told of one notification is in one partition")


async def _to_be_told(trial: Trial) -> set[str]:
    """Of the whole log: whoever never published before begins at its beginning."""
    rows = await trial.cluster.query(
        "SELECT originator_id::text, originator_version"
        " FROM stored_events, LATERAL (SELECT convert_from(state, 'UTF8')::jsonb) AS s (e)"
        " WHERE topic = ANY(%s) AND NOT (topic = 'notification.failed' AND e->>'call' = '0')",
        (list(TOPICS),),
    )
    return {f"{id}/{version}" for id, version in rows}


def _out_of_order(told: Sequence[dict[str, Any]]) -> set[str]:
    """Those of which something was told for the first time behind what happened later."""
    firsts: dict[str, list[int]] = {}
    for each in told:
        version = int(each["id"].rpartition("/")[2])
        if version not in (versions := firsts.setdefault(each["subject"], [])):
            versions.append(version)
    return {subject for subject, versions in firsts.items() if any(a > b for a, b in pairwise(versions))}


def _scattered(records: Sequence[Record]) -> bool:
    places = {(each.key, each.partition) for each in records}
    return len(places) > len({key for key, _ in places})


async def _moved(trial: Trial, before: int) -> bool:
    return await _position(trial) > before


async def _position(trial: Trial) -> int:
    rows = await trial.cluster.query("SELECT position FROM process_positions WHERE process = 'publisher'")
    return int(rows[0][0]) if rows else -1
