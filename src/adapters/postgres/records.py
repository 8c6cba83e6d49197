"""Records of Kafka: how many became what, and those that were set aside."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from adapters.postgres.database import Database
from application.commands.parked import ListParked
from application.projections.parked import ParkedRow
from domain.parked import ParkReason

_PARKED = ", ".join(ParkedRow.__struct_fields__)
_STILL = "status = 'parked'"


class PostgresRecordCounts:
    """Implements the port RecordCounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, counts: Mapping[tuple[str, str], int]) -> None:
        """In one order, so that two who count at once do not wait for each other."""
        rows = sorted(counts.items())
        await self._database.rows(
            "INSERT INTO record_counts SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[])"
            " ON CONFLICT (topic, fact) DO UPDATE SET count = record_counts.count + excluded.count",
            ([topic for (topic, _), _ in rows], [fact for (_, fact), _ in rows], [count for _, count in rows]),
        )

    async def all(self) -> dict[tuple[str, str], int]:
        rows = await self._database.rows("SELECT topic, fact, count FROM record_counts ORDER BY topic, fact")
        return {(topic, fact): int(count) for topic, fact, count in rows}


class PostgresParkedReader:
    """Implements the port ParkedReader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant: str | None, query: ListParked) -> Sequence[ParkedRow]:
        wishes = {
            "tenant =": tenant,
            "status =": query.status,
            "reason =": query.reason,
            "topic =": query.topic,
            "position <": query.before,
        }
        return await self._rows(wishes, "position DESC", query.limit)

    async def oldest(
        self, tenant: str | None, reason: ParkReason | None, topic: str | None, after: int, limit: int
    ) -> Sequence[ParkedRow]:
        wishes = {
            "tenant =": tenant,
            "status =": "parked",
            "complete =": True,
            "reason =": reason,
            "topic =": topic,
            "position >": after,
        }
        return await self._rows(wishes, "position", limit)

    async def waiting(self) -> dict[tuple[str, str], int]:
        rows = await self._database.rows(
            f"SELECT topic, reason, count(*) FROM view_kafka_parked.rows WHERE {_STILL} GROUP BY topic, reason"
        )
        return {(topic, reason): int(count) for topic, reason, count in rows}

    async def _rows(self, wishes: Mapping[str, Any], order: str, limit: int) -> Sequence[ParkedRow]:
        given = {name: value for name, value in wishes.items() if value is not None}
        wanted = "".join(f" AND {name} %s" for name in given)
        rows = await self._database.rows(
            f"SELECT {_PARKED} FROM view_kafka_parked.rows WHERE true{wanted} ORDER BY {order} LIMIT %s",
            (*given.values(), limit),
        )
        return [_row(row) for row in rows]


def _row(values: Sequence[Any]) -> ParkedRow:
    return msgspec.convert(dict(zip(ParkedRow.__struct_fields__, values, strict=True)), ParkedRow, strict=False)
