"""Records by aiokafka, in a group; what was read is committed by hand."""

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from gzip import BadGzipFile
from time import monotonic
from typing import Protocol

import cramjam
import msgspec
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
_POLL_SECONDS = 1.0
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
_NEW_TOPICS_MS = 10_000
"""A topic that is not there yet is read this long after it is."""

_UNREADABLE = (
    CorruptRecordException,
    UnsupportedCodecError,
    UnicodeDecodeError,
    struct.error,
    EOFError,
    BadGzipFile,
    zlib.error,
    cramjam.DecompressionError,
)
"""What aiokafka and its codecs raise of bytes that they cannot read. Everything else is no fault of a record."""
_TRIES = 3
_PAUSES = (0.5, 2.0)
"""Seconds between them: what came torn over the network comes whole the next time."""
_SEARCH_SECONDS, _SEARCH_PAUSE = 1.0, 0.02
"""So long partitions are asked one by one, after something could not be read of none knows which."""


class InflowLog(Protocol):
    """Where it is said what was not read, or not taken for read."""

    def unreadable_record(self, origin: Origin, error: Exception) -> None:
        """It was tried several times, and given up."""

    def uncommitted(self, ends: Mapping[str, int], error: Exception) -> None:
        """By topic and partition up to where: what comes before comes again, here or elsewhere."""


@asynccontextmanager
async def inflow(
    connection: Connection, group: str, topics: Collection[str], session: timedelta, log: InflowLog
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
        flow = KafkaInflow(consumer, log)
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


class _Torn(msgspec.Struct):
    """Where a partition could not be read, how often that one record was tried alone, and until when it rests."""

    offset: int
    tries: int = 0
    until: float = 0.0


class KafkaInflow(ConsumerRebalanceListener):  # type: ignore[misc]
    """Implements the port Inflow.

    Before partitions go to somebody else, what was handed out is waited for: so it is committed, and they begin behind
    it. Where that takes too long they read it again.

    Each partition is asked by itself, so that it is known whose bytes cannot be read; and only for what is there
    already, which takes no turn of the loop, so that the group cannot change while records are gathered.
    """

    def __init__(self, consumer: AIOKafkaConsumer, log: InflowLog) -> None:
        self.joined = False
        self._consumer = consumer
        self._log = log
        self._surprises = 0
        self._rounds = 0
        self._searching = 0.0
        self._torn: dict[TopicPartition, _Torn] = {}
        self._given: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    async def next(self) -> Sequence[Record]:
        self._idle.set()
        try:
            records = await self._gathered()
        except KafkaError as error:
            await self._stay(error)
            return []
        self._surprises = 0
        if records:
            self._idle.clear()
            self._given |= _ends(records)
        else:
            await self._move_on()
        return records

    async def _stay(self, error: Exception) -> None:
        """Raises the error, unless it is an odd answer while the group takes shape: to leave it for that would make

        everybody else begin again too.
        """
        self._surprises += 1
        if type(error) is not KafkaError or self._surprises > _MOST_SURPRISES:
            raise error
        await asyncio.sleep(_AFTER_A_SURPRISE)

    async def _gathered(self) -> list[Record]:
        """What is there, of any partition; else what comes first, with what has come beside it."""
        end = monotonic() + _POLL_SECONDS
        records = await self._round(MOST_RECORDS)
        while not records and (left := end - monotonic()) > 0:
            if monotonic() < self._searching:
                await asyncio.sleep(_SEARCH_PAUSE)
            else:
                records = await self._first(min([left, *self._rests()]))
            records += await self._round(MOST_RECORDS - len(records))
        return records

    async def _first(self, seconds: float) -> list[Record]:
        """One at the most: whoever asks all partitions for more loses what comes before bytes that cannot be read."""
        try:
            found = await self._consumer.getmany(timeout_ms=round(seconds * 1000), max_records=1)
        except _UNREADABLE:
            self._searching = monotonic() + _SEARCH_SECONDS
            return []
        return _records(found)

    async def _round(self, room: int) -> list[Record]:
        """Of each partition what is there, beginning with another one each time."""
        self._wake()
        places = sorted(self._consumer.assignment())
        self._rounds += 1
        first = self._rounds % len(places) if places else 0
        records: list[Record] = []
        for place in places[first:] + places[:first]:
            if len(records) < room:
                records += await self._of(place, room - len(records))
        return records

    async def _of(self, place: TopicPartition, room: int) -> list[Record]:
        """One by one where something could not be read: of many, none would come with it."""
        alone = place in self._torn
        records: list[Record] = []
        try:
            while len(records) < room:
                most = 1 if alone else room - len(records)
                found = await self._consumer.getmany(place, timeout_ms=0, max_records=most)
                if not found:
                    break
                records += _records(found)
        except _UNREADABLE as error:
            self._searching = 0.0
            return records + await self._unreadable(place, error, alone=alone)
        if records:
            self._torn.pop(place, None)
        return records

    async def _unreadable(self, place: TopicPartition, error: Exception, *, alone: bool) -> list[Record]:
        """Tried again after a while, and given up in the end: then its place alone is handed out."""
        offset = await self._consumer.position(place)
        torn = self._torn.get(place)
        if torn is None or torn.offset != offset:
            torn = self._torn[place] = _Torn(offset)
        if not alone:
            return []
        torn.tries += 1
        if torn.tries < _TRIES:
            self._consumer.pause(place)
            torn.until = monotonic() + _PAUSES[torn.tries - 1]
            return []
        self._consumer.seek(place, offset + 1)
        self._torn[place] = _Torn(offset + 1, _TRIES - 1)  # of one torn batch no record is waited for anew
        origin = Origin(topic=place.topic, partition=place.partition, offset=offset, timestamp=0)
        self._log.unreadable_record(origin, error)
        return [Record(origin=origin, key=None, value=None, unreadable=type(error).__name__)]

    def _wake(self) -> None:
        """Those that have rested."""
        for place, torn in self._torn.items():
            if torn.until and torn.until <= monotonic():
                torn.until = 0.0
                self._consumer.resume(place)

    def _rests(self) -> list[float]:
        """How many seconds partitions still rest."""
        return [max(0.0, torn.until - monotonic()) for torn in self._torn.values() if torn.until]

    async def _move_on(self) -> None:
        """Nothing came, so what stands behind all that was read is no record: the marks of transactions are none."""
        idle = [place for place in self._consumer.assignment() if self._is_idle(place)]
        positions = {place: await self._consumer.position(place) for place in idle}
        await self._commit({place: at for place, at in positions.items() if at > self._read.get(place, -1)})

    def _is_idle(self, place: TopicPartition) -> bool:
        """Whether it was asked, and nothing of it is in hand."""
        in_hand = self._given.get(place, 0) > self._read.get(place, 0)
        return not in_hand and self._consumer.highwater(place) is not None

    async def done(self, records: Sequence[Record]) -> None:
        """Raises KafkaError when the group does not take it for another reason than that it has changed."""
        try:
            await self._commit({place: end for place, end in _ends(records).items() if place in self._given})
        finally:
            self._idle.set()

    async def _commit(self, ends: Mapping[TopicPartition, int]) -> None:
        if not ends:
            return
        try:
            await self._consumer.commit(dict(ends))
        except (CommitFailedError, IllegalStateError) as error:  # they are somebody else's by now, who reads them again
            self._log.uncommitted({f"{place.topic}/{place.partition}": end for place, end in ends.items()}, error)
        else:
            self._read |= ends

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            return

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """All begin anew at what was committed: what is in hand still is not ours to commit any more."""
        self.joined = True
        for known in (self._torn, self._given, self._read):
            known.clear()


def _ends(records: Sequence[Record]) -> Mapping[TopicPartition, int]:
    ends: dict[TopicPartition, int] = {}
    for each in records:
        place = TopicPartition(each.origin.topic, each.origin.partition)
        ends[place] = max(ends.get(place, 0), each.origin.offset + 1)
    return ends


def _records(found: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> list[Record]:
    return [_record(each) for several in found.values() for each in several]


def _record(came: ConsumerRecord) -> Record:
    return Record(
        origin=Origin(topic=came.topic, partition=came.partition, offset=came.offset, timestamp=came.timestamp),
        key=came.key,
        value=came.value,
        headers=tuple((name, value or b"") for name, value in came.headers),
    )
