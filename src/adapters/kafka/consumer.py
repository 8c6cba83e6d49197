"""Records by aiokafka, in a group; what was read is committed by hand."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from aiokafka import (
    AIOKafkaConsumer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
)
from aiokafka.coordinator.assignors.sticky.sticky_assignor import (
    StickyPartitionAssignor,
)
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    UnsupportedCodecError,
)

from adapters.kafka.connection import Connection
from adapters.stopping import stopped
from application.inbound.event import Record
from domain.parked import Origin

MOST_RECORDS = 500
_POLL_MS = 1_000
_LEAVE_SECONDS = 5.0
_REBALANCE_MS = 30_000
_ANSWER_MS = 10_000
"""Who joins is answered only when all others have let go, and then some."""
_HAND_OVER_SECONDS = 20.0
"""Longer than a save may take, and less than others wait for us to let go."""
_NEVER_MS = 2**31 - 1
"""While the store is away we wait on purpose, for as long as it takes, and stay in the group."""
_MOST_SURPRISES = 20
_AFTER_A_SURPRISE = 0.1
_CORRUPT = (CorruptRecordException, UnsupportedCodecError)
_NEW_TOPICS_MS = 10_000
"""A topic that is not there yet is read this long after it is."""


@asynccontextmanager
async def inflow(
    connection: Connection, group: str, topics: Collection[str], session: timedelta
) -> AsyncIterator["KafkaInflow"]:
    """A member of the group, from which it takes its leave when the block ends. Raises KafkaError."""
    session_ms = round(session.total_seconds() * 1000)
    rebalance_ms = max(_REBALANCE_MS, session_ms)
    arguments = connection.arguments() | {"request_timeout_ms": rebalance_ms + _ANSWER_MS}
    consumer = AIOKafkaConsumer(
        **arguments,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        partition_assignment_strategy=(StickyPartitionAssignor,),
        max_poll_records=MOST_RECORDS,
        max_poll_interval_ms=_NEVER_MS,
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // 4,
        rebalance_timeout_ms=rebalance_ms,
        metadata_max_age_ms=_NEW_TOPICS_MS,
    )
    await consumer.start()
    try:
        flow = KafkaInflow(consumer)
        consumer.subscribe(topics=sorted(topics), listener=flow)
        yield flow
    finally:
        await _take_leave(consumer)


async def _take_leave(consumer: AIOKafkaConsumer) -> None:
    """To the end, however often we are asked to stop meanwhile: half of it would leave connections open.

    Within seconds all the same, for the brokers may be away.
    """
    leaving = asyncio.create_task(consumer.stop())
    now = asyncio.get_running_loop().time
    until = now() + _LEAVE_SECONDS
    while not leaving.done() and now() < until:
        with suppress(asyncio.CancelledError):
            await asyncio.wait([leaving], timeout=until - now())
    await stopped(leaving)
    await consumer._client.close()  # where it did not come to that


class KafkaInflow(ConsumerRebalanceListener):  # type: ignore[misc]
    """Implements the port Inflow.

    Before partitions go to somebody else, what was handed out is waited for: so it is committed, and they begin behind
    it. Where that takes too long they read it again.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._surprises = 0
        self._ends: dict[TopicPartition, int] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    async def next(self) -> Sequence[Record]:
        self._idle.set()
        try:
            found = await self._consumer.getmany(timeout_ms=_POLL_MS)
            records = [_record(each) for several in found.values() for each in several]
        except Exception as error:  # noqa: BLE001 - of bytes that aiokafka cannot read there are many kinds
            if not _is_of_a_record(error):
                await self._stay(error)
                return []
            records = await self._step_over(error)
        self._surprises = 0
        if records:
            self._idle.clear()
        self._ends |= _ends(records)
        return records

    async def _stay(self, error: Exception) -> None:
        """Raises the error, unless it is an odd answer while the group takes shape: to leave it for that would make

        everybody else begin again too.
        """
        self._surprises += 1
        if type(error) is not KafkaError or self._surprises > _MOST_SURPRISES:
            raise error
        await asyncio.sleep(_AFTER_A_SURPRISE)

    async def _step_over(self, error: Exception) -> list[Record]:
        """One record of each partition: aiokafka does not say whose it could not read, and forgets what came with it.

        So each begins again behind what was handed out. Raises the error where nothing comes of that.
        """
        records: list[Record] = []
        for place in self._consumer.assignment():
            begin = await self._begin(place)
            self._consumer.seek(place, begin)
            try:
                got = await self._consumer.getmany(place, timeout_ms=_POLL_MS, max_records=1)
                records += [_record(each) for several in got.values() for each in several]
            except Exception as its_own:
                if not _is_of_a_record(its_own):
                    raise
                records.append(_unreadable(place, begin, its_own))
                self._consumer.seek(place, begin + 1)
        if not records:
            raise error
        return records

    async def _begin(self, place: TopicPartition) -> int:
        """Where what was not handed out yet begins."""
        if place in self._ends:
            return self._ends[place]
        committed = await self._consumer.committed(place)
        if committed is not None:
            return int(committed)
        return int((await self._consumer.beginning_offsets([place]))[place])

    async def done(self, records: Sequence[Record]) -> None:
        """Raises KafkaError when the group does not take it for another reason than that it has changed."""
        ours = self._consumer.assignment()
        ends = {place: offset for place, offset in _ends(records).items() if place in ours}
        try:
            if ends:
                await self._consumer.commit(ends)
        except (CommitFailedError, IllegalStateError):  # they are somebody else's by now, who reads them again
            return
        finally:
            self._idle.set()

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            return

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Where others have read meanwhile is asked anew."""
        self._ends.clear()


def _ends(records: Sequence[Record]) -> Mapping[TopicPartition, int]:
    ends: dict[TopicPartition, int] = {}
    for each in records:
        place = TopicPartition(each.origin.topic, each.origin.partition)
        ends[place] = max(ends.get(place, 0), each.origin.offset + 1)
    return ends


def _is_of_a_record(error: Exception) -> bool:
    """Whether it is about bytes, and not about brokers, rights or the group."""
    return isinstance(error, _CORRUPT) or not isinstance(error, KafkaError | ConsumerStoppedError | OSError)


def _unreadable(place: TopicPartition, offset: int, error: Exception) -> Record:
    origin = Origin(topic=place.topic, partition=place.partition, offset=offset, timestamp=0)
    return Record(origin=origin, key=None, value=None, unreadable=type(error).__name__)


def _record(came: ConsumerRecord) -> Record:
    return Record(
        origin=Origin(topic=came.topic, partition=came.partition, offset=came.offset, timestamp=came.timestamp),
        key=came.key,
        value=came.value,
        headers=tuple((name, value or b"") for name, value in came.headers),
    )
